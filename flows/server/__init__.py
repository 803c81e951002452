"""Bringing a Prefect server to what the list of pools says: what is wanted, what is there, and the difference.

`faceflow register` does all of it; `faceflow up` what belongs to process pools of its machine (`faceflow.flows.server.this_machine`).
"""
