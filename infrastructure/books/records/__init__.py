"""Records: what was decided and from what, what ran where for how long, and what that teaches the next decision.

    Decision ─▶ decisions ─▶ `faceflow decision show`, `faceflow policy replay`
    run submitted, started, ended ─▶ runs ─▶ corrections ─▶ the snapshot of the next decision

| Module | Holds |
|---|---|
| `decisions` | every decision with its facts and its snapshot, as they were |
| `runs` | the pieces of work of an attempt, from submitted to ended |
| `corrections` | seconds taken over seconds estimated, by engine and GPU |
| `requests` | what the dispatcher was asked for, which attempt is on its way, and what became of it |
| `erasing` | forgetting a job or a project |
"""
