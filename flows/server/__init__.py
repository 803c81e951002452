"""Bringing a Prefect server to what the list of pools says: what is wanted, what is there, and the difference.

`faceflow register` does all of it (`register`); `faceflow up` what belongs to process pools of its machine.

| Module | Holds |
|---|---|
| `deployed` | the one table of flows that are deployed, and where |
| `register` | a whole list of pools: what is wanted, compared with what the server has, and applied |
| `work_pools`, `deployments` | pools, queues and deployments as items to compare |
| `difference` | an item, what differs, and how it is shown |
| `renaming` | what is left under a pool's former name |
| `this_machine` | what `faceflow up` needs: process pools of this machine and their deployments |
"""
