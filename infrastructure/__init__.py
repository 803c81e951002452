"""Where a job runs, where its bytes lie, and what is written down about both.

| Room | Holds |
|---|---|
| `routing` | the pure policy: from facts to a decision; `routing.simulation` runs it over whole days |
| `books` | the database: budgets, records of requests and decisions, campaigns |
| `sources` | where decisions take their facts from: rules that are pushed, live signals |
| `stores` | folders, S3, Azure, Google: where media are read and results are kept |
| `machine` | one machine: its Prefect server and worker, its ledger of jobs, how pools start one, container images |
| `models` | fetching published networks |
"""
