"""Driving a campaign: its jobs are placed in micro-batches, followed and booked.

    next rows of a route ─▶ decide as one ─▶ keep ─▶ reserve ─▶ write down ─▶ start ─▶ follow ─▶ book, settle

Everything is written down before it is started, and started under a key of its own. So a driver that was killed goes on
where it was: what was written down and not started is started, what runs is followed, what ended is booked.

| Module | Holds |
|---|---|
| `batch_placement` | decides about a batch and starts its runs |
| `batches` | what became of a batch's runs, and of each job |
| `batch_table` | how each job of a batch stands, as the batch tells the server |
| `report_artifacts` | progress and report as artifacts |
"""
