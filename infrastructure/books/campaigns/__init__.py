"""Campaigns: thousands of short jobs from one list, placed in micro-batches, and what became of each.

    manifest ─▶ rows ─▶ waiting ─ grouped by route ─▶ batch ─ decide, reserve ─▶ placed ─▶ done | failed
                            └──────────────────── the machine was lost ◀───────────┘

| Module | Holds |
|---|---|
| `rows` | a job with what is known of its target; many of them wait on disk |
| `manifest` | rows of a CSV or JSON-lines file; every mistake at its line |
| `portraits` | rows of the portraits below a folder or below a prefix in a store |
| `sources` | which of these was asked for |
| `batching` | which rows may be decided about as one |
| `books` | the rows in the database, and how each stands |
| `figures` | counts and sums over them |
| `report` | figures of a campaign, by pool and by failure |
"""
