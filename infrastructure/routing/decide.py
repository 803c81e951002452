"""`decide`: where one job goes. A pure function of the job, the rules, the snapshot and the pools.

1. The wall takes away the pools that the job's sensitivity forbids; no rule is read for that.
2. The first rule that fits is taken. A rule that only may fit, because a signal is missing, is taken into account and
   the next ones are looked at too.
3. Of all outcomes that are possible, the most careful is taken: held before placed, the better protected zone
   before the other, the lower highest cost before the higher. Where the safest is not the cheapest, the job is held.
   One outcome is the rule; several come from missing signals.
4. The wall looks at the finished placements again, by a way of its own.

Whatever the true value of a missing signal is, the decision that it would have led to is among the outcomes. So a
missing signal can delay a job, but can neither expose it nor make it dearer than the prices that have to be reckoned
with anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from faceflow.infrastructure.routing.conditions import compiled_rules, fits
from faceflow.infrastructure.routing.decision import Action, Decision, Estimate, Placement, PolicyRef, Way
from faceflow.infrastructure.routing.offers import Offers
from faceflow.infrastructure.routing.outcomes import Member, Outcome, outcomes_of
from faceflow.infrastructure.routing.policy import Place, Policy
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.readings import Reading, negate
from faceflow.infrastructure.routing.rejections import rejections
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.infrastructure.routing.wall import breaches
from faceflow.infrastructure.routing.world import World
from faceflow.zones import ALLOWED_ZONES, Zone

LONGEST_S = 10 * 365 * 86_400.0
"""Times farther away than this are not given as a date."""
_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class _Choice:
    """A possible outcome and the rule that it comes from."""

    outcome: Outcome
    rule: str | None
    why: str
    place: Place | None


def decide(job: JobFacts, rules: Policy, snapshot: Snapshot, pools: Pools) -> Decision:
    """Where the job goes, at what price, until when, and why. Never raises for what a snapshot holds."""
    world = World(job, rules, snapshot, pools)
    offers = Offers(world)
    chosen = _choose(world, offers)
    decision = _decision(chosen, world, offers)
    found = breaches(job.sensitivity, [member.offer.pool for member in chosen.outcome.members])
    if not found:
        return decision
    refused = Outcome(Action.REFUSE, reason=f"the rules sent it to a pool that it may not enter: {' '.join(found)}")
    return _decision(replace(chosen, outcome=refused), world, offers)


def _choose(world: World, offers: Offers) -> _Choice:
    choices: list[_Choice] = []
    limit: int | None = None
    for rule, conditions in compiled_rules(world.policy):
        fitting = fits(conditions, world)
        if fitting is False:
            continue
        certain = fitting is True and not choices
        outcomes = outcomes_of(rule.place, offers)
        choices += [_Choice(_softened(one, certain), rule.name, rule.why, rule.place) for one in outcomes.possible]
        limit = _lower(limit, outcomes.exposure_limit)
        if fitting is True:
            break
    else:
        place = world.policy.default
        if place is None:
            choices.append(_Choice(Outcome(Action.HOLD, reason="no rule matches it"), None, "", None))
        else:
            outcomes = outcomes_of(place, offers)
            choices += [_Choice(_softened(one, not choices), "default", "", place) for one in outcomes.possible]
            limit = _lower(limit, outcomes.exposure_limit)
    return _most_careful(choices, limit, world)


def _most_careful(choices: list[_Choice], limit: int | None, world: World) -> _Choice:
    """The outcome that is neither more exposed nor dearer than any other possible one; held, where there is none."""
    best = min(choices, key=lambda choice: (choice.outcome.exposure, choice.outcome.highest_cost))
    if len(choices) > 1:
        world.note("Several outcomes were possible with these signals; the most cautious one was chosen.")
    if limit is not None and best.outcome.exposure > limit:
        return _held(best, "a better protected pool may fit the budget once its price is known")
    if best.outcome.members and best.outcome.highest_cost > min(choice.outcome.highest_cost for choice in choices):
        return _held(best, "because signals are missing, the safest pool may not be the cheapest")
    return best


def _held(choice: _Choice, reason: str) -> _Choice:
    return replace(choice, outcome=Outcome(Action.HOLD, reason=reason, rejected=choice.outcome.rejected))


def _lower(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)


def _softened(outcome: Outcome, certain: bool) -> Outcome:
    """A job is not refused for good because of a rule that only may fit: it is held until that is known."""
    if outcome.action is not Action.REFUSE or certain:
        return outcome
    return replace(outcome, action=Action.HOLD, reason=f"it may have to be refused: {outcome.reason}")


def _decision(chosen: _Choice, world: World, offers: Offers) -> Decision:
    outcome, job, policy = chosen.outcome, world.job, world.policy
    placements = tuple(_placement(member, offers) for member in outcome.members)
    estimate = _together(outcome, offers)
    return Decision(
        job_id=job.id,
        attempt=job.attempt,
        count=job.count,
        project=job.project,
        sensitivity=job.sensitivity,
        priority=job.priority,
        deadline=job.deadline,
        decided_at=world.snapshot.now,
        policy=PolicyRef(version=policy.version, hash=policy.hash),
        action=outcome.action,
        rule=chosen.rule,
        why=chosen.why,
        reason=outcome.reason or _why_it_waits(outcome, world),
        way=outcome.way,
        placements=placements,
        estimate=estimate,
        rejected=rejections(outcome, chosen.place, chosen.rule, offers),
        notes=(*outcome.notes, *world.notes()),
    )


def _why_it_waits(outcome: Outcome, world: World) -> str:
    if outcome.action is not Action.WAIT:
        return ""
    zones = " or ".join(sorted(ALLOWED_ZONES[world.job.sensitivity]))
    if len(ALLOWED_ZONES[world.job.sensitivity]) < len(Zone):
        return f"all of its pools are full, and {world.job.sensitivity} media may not leave the {zones} zone"
    return "every pool that the rule names is full"


def _placement(member: Member, offers: Offers) -> Placement:
    pool = member.offer.pool
    alone = Outcome(Action.RUN, (member,))
    return Placement(
        pool=pool.name, zone=pool.zone, capacity=pool.capacity, share=member.share, estimate=_together(alone, offers)
    )


def _together(outcome: Outcome, offers: Offers) -> Estimate:
    """What all members together take, and when the last of them (in a race: the first) is done."""
    members = outcome.members
    if not members:
        return Estimate(
            gpu_s=None, cost_usd=None, reserve_usd=None, start_delay_s=None, finish_at=None, meets_deadline=None
        )
    last = min if outcome.way is Way.RACE else max
    finishes = [member.offer.finish(member.share) for member in members]
    finish = Reading(last(one.least for one in finishes), last(one.most for one in finishes))
    starts = [member.offer.wait.least + member.offer.start.least for member in members]
    starts_known = all(member.offer.wait.known and member.offer.start.known for member in members)
    runs = [member.offer.run.most * member.share for member in members]
    cost = sum((member.offer.cost.most * _decimal(member.share) for member in members), Decimal(0))
    reserve = outcome.highest_cost
    now = offers.world.snapshot.now
    slack_s = members[0].offer.slack_s
    return Estimate(
        gpu_s=round(sum(runs), 3) if all(member.offer.run.known for member in members) else None,
        cost_usd=cost.quantize(_MICRO) if cost.is_finite() else None,
        reserve_usd=reserve.quantize(_MICRO) if reserve.is_finite() else None,
        start_delay_s=round(last(starts), 3) if starts_known else None,
        finish_at=now + timedelta(seconds=round(finish.most, 3)) if finish.known and finish.most < LONGEST_S else None,
        meets_deadline=None if slack_s is None else negate(finish.above(slack_s)),
    )


def _decimal(share: float) -> Decimal:
    return Decimal(1) if share == 1.0 else Decimal(repr(share))
