"""The dispatcher: from a request to runs on pools, and to what became of them.

    remember ─▶ decide ─▶ write down ─▶ reserve ─▶ start ─▶ follow ─▶ settle
                  └─ held, refused, waiting for approval       └─ lost: decide again, attempt + 1

It never opens media. Every step may be cut off by a crash and done again: requests change by compare-and-swap, money
is reserved once a job and attempt, and a run is started once a job, attempt and pool.

| Module | Holds |
|---|---|
| `known_media` | what a caller may know of the media; a request's name; its facts for `decide` |
| `control` | what the dispatcher works with: settings, database, pools, rules, signals |
| `placement` | decides the next attempt of a request and starts it |
| `booking` | how its runs fared, in the books, and what runs that share a job teach |
| `attempts` | what became of its runs: started again, ended |
| `approval` | how much a job over its budget needs, and the form in which a person allows it |
| `answer` | the decision as artifacts and as the flow's answer |
| `losses` | why a run was lost, in words |
"""
