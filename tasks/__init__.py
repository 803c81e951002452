"""How each step of a job runs: one module a stage, one Prefect task each, thin over the plain functions of
`faceflow.stages`.

A task adds a name, retries, a cache key and a kept result; what happens to pictures is none of its business.
"""
