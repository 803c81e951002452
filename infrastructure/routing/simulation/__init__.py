"""A day of work, simulated with the real `decide`: what would this policy have cost, and who would have waited?

    Scenario (or a trace) ─ arrivals ─▶ units ─ decide ─▶ machines of the pools ─▶ Day ─▶ Report, plots

| Module | Holds |
|---|---|
| `scenario`, `trace`, `arrivals` | which jobs come when, generated or recorded |
| `prices` | spot prices over the day |
| `machines` | GPUs that start, work, are interrupted and stop |
| `day` | the discrete-event simulation itself |
| `report`, `plots` | what came of it |
| `bound` | what nobody could have done better, by linear programming |
"""
