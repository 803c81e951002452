"""Campaigns: thousands of short jobs from one list, placed in micro-batches, and what became of each.

    manifest ─▶ rows ─▶ waiting ─ grouped by route ─▶ batch ─ decide, reserve ─▶ placed ─▶ done | failed
                            └──────────────────── the machine was lost ◀───────────┘

| Module | Holds |
|---|---|
| `manifest` | rows of a CSV or JSON-lines file, or the portraits of a folder, as jobs; every mistake at its line |
| `batching` | which rows may be decided about as one |
| `books` | the rows in the database, and how each stands |
| `report` | figures of a campaign, by pool and by failure |
"""
