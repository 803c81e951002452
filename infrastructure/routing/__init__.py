"""Where each job runs, and why: rules as data, and one pure function over them.

    decide(job, rules, snapshot, pools) -> Decision

No module in here knows Prefect, a network or a clock: what changes comes in through the snapshot. So a decision can
be tested by the ten thousand, replayed years later, and simulated for a whole day in seconds.

| Module | Holds |
|---|---|
| `snapshot`, `pools`, `policy` | what comes in: job facts, snapshot; pools; rules |
| `document`, `loading`, `plain_rules`, `reachability` | texts to rules, with every problem at its line |
| `readings`, `world`, `offers` | signals as ranges; what each pool offers |
| `conditions`, `outcomes`, `pace` | `when`, `place`, and the move to on-demand capacity |
| `wall` | where media may go; read by no rule |
| `comparing`, `schema` | what other rules would change; the published schema |
| `decide`, `decision`, `rejections`, `wording` | the answer, and the answer in words |
"""
