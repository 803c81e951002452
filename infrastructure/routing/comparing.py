"""What another policy would change: rule by rule, and job by job over decisions that were made before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Decision, Way
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.job import FrozenModel


class Record(FrozenModel):
    """One decision as it is kept: everything that it was made from, and what came of it."""

    job: JobFacts
    snapshot: Snapshot
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """A record and the decision that the rules of today make of it."""

    before: Decision | None
    now: Decision

    @property
    def same(self) -> bool:
        """Whether the job goes to the same places in the same way."""
        return self.before is not None and _places(self.before) == _places(self.now)

    @property
    def more_usd(self) -> Decimal | None:
        """How much dearer it is now; None where either cost is not known."""
        if self.before is None:
            return None
        costs = [
            Decimal(0) if not decision.placements else decision.estimate.cost_usd
            for decision in (self.before, self.now)
        ]
        return None if costs[0] is None or costs[1] is None else costs[1] - costs[0]


def replay(records: Iterable[Record], rules: Policy, pools: Pools) -> Iterator[Replayed]:
    """Decides every record again, at the moment and with the signals of then."""
    for record in records:
        yield Replayed(record.decision, decide(record.job, rules, record.snapshot, pools))


def rule_differences(old: Policy, new: Policy) -> list[str]:
    """What changed from one policy to another, a sentence for each; empty where they decide alike."""
    found = []
    before, after = {rule.name: rule for rule in old.rules}, {rule.name: rule for rule in new.rules}
    found += [f"rule '{name}' is gone" for name in before if name not in after]
    for place, rule in enumerate(new.rules, 1):
        if rule.name not in before:
            found.append(f"rule '{rule.name}' is new, as number {place}")
            continue
        was = before[rule.name]
        found += [
            f"rule '{rule.name}': {field} was {_short(getattr(was, field))}, is {_short(getattr(rule, field))}"
            for field in ("when", "place", "why")
            if getattr(was, field) != getattr(rule, field)
        ]
    kept_before = [name for name in before if name in after]
    kept_after = [name for name in after if name in before]
    if kept_before != kept_after:
        found.append(f"the order was {', '.join(kept_before)}; is {', '.join(kept_after)}")
    found += [
        f"{field} was {_short(getattr(old, field))}, is {_short(getattr(new, field))}"
        for field in ("settings", "default")
        if getattr(old, field) != getattr(new, field)
    ]
    return found


def where(decision: Decision) -> str:
    """The places of a decision in a few words."""
    if not decision.placements:
        return str(decision.action)
    joint = {Way.RACE: " | ", Way.SPLIT: " + ", Way.ONE: ""}[decision.way]
    return f"{decision.action} on {joint.join(placement.pool for placement in decision.placements)}"


def _places(decision: Decision) -> tuple[object, ...]:
    return decision.action, decision.way, tuple((one.pool, round(one.share, 6)) for one in decision.placements)


def _short(value: object) -> str:
    if isinstance(value, FrozenModel):
        return value.model_dump_json(exclude_defaults=True, by_alias=True)
    return "nothing" if value in (None, "") else repr(value)
