"""How work is started on a pool: on what it runs, with which rights, and the base job template that says so to Prefect.

One list of pools serves everything: `infrastructure.routing.pools.Pool` says where a pool lies and what it costs, its
field `runs_on` (the models of `routing/runs_on.py`) how a job is started there. `templates.base_job_template` turns
both into what a Prefect worker of that type reads. No cluster and no cloud library is needed to make a template.
"""
