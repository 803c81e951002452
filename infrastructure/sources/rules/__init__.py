"""Where routing rules come from, and which of them are in force.

    address ─▶ RuleSource ─ text + revision ─▶ PolicyKeeper ─ Policy ─▶ decide
    (file, block, etcd, Consul)                 │ last good version, on disk too
                                                └ RuleState: what is live, what was refused and why, since when

A company pushes rules while jobs run. Whatever is pushed, and whatever happens to the store, there is always a policy:
the last one that was in order. Who decides asks

    await current_policy(settings, pools)         once, in a short process; bounded in time
    with watching(settings, pools) as keeper:     as long as the block lasts; a push is live in under a second
        keeper.policy, keeper.state

| Module | Holds |
|---|---|
| `rule_source` | the protocol of a source |
| `file_source`, `block_source`, `etcd_source`, `consul_source` | its members, which do not know one another |
| `addresses` | from an address to its source |
| `connecting` | what sources that speak HTTP share: time limits, certificates, failures in plain words |
| `state` | what can be said about the rules in force, and the file that survives a restart |
| `policy_keeper` | holds the last good policy and follows the source |
| `watching` | the same on a thread, for programs of any kind |
| `pushing` | puts new rules into a source, compare-and-swap |
"""

from faceflow.infrastructure.sources.rules.addresses import open_source
from faceflow.infrastructure.sources.rules.policy_keeper import PolicyKeeper
from faceflow.infrastructure.sources.rules.state import RuleState
from faceflow.infrastructure.sources.rules.watching import LivePolicy, current_policy, rule_state, watching

__all__ = ["LivePolicy", "PolicyKeeper", "RuleState", "current_policy", "open_source", "rule_state", "watching"]
