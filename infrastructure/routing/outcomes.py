"""`place`: what a rule's wish comes to, given what the pools offer.

Where a signal is missing more than one outcome is possible. All of them are listed here; `decide` takes the most
careful. A pool whose cost may or may not fit the budget is never an outcome, but it is remembered as doubtful: had its
price been known the job might have run there, so nothing less protected may take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from faceflow.infrastructure.routing.decision import Action, Obstacle, Rejection, Way
from faceflow.infrastructure.routing.offers import Offer, Offers
from faceflow.infrastructure.routing.pace import why_on_demand
from faceflow.infrastructure.routing.policy import Place
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.readings import MoneyReading, both, negate
from faceflow.infrastructure.routing.wall import EXPOSURE, shut_out

NEEDS_APPROVAL = "none of its pools fits the budget, so it waits for approval"
"""Why a job is held when only the money is missing and the rule does not refuse it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A pool's part in an outcome."""

    offer: Offer
    share: float = 1.0

    def reserve(self) -> MoneyReading:
        """What its part takes from the budgets."""
        return _scaled(self.offer.reserve, self.share)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that may come of a rule."""

    action: Action
    members: tuple[Member, ...] = ()
    way: Way = Way.ONE
    reason: str = ""
    rejected: dict[str, Rejection] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def exposure(self) -> int:
        """The least protected zone that it enters; -1 for none."""
        return max((EXPOSURE[member.offer.pool.zone] for member in self.members), default=-1)

    @property
    def highest_cost(self) -> Decimal:
        """The most that it may cost."""
        return sum((member.reserve().most for member in self.members), Decimal(0))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """All that may come of a rule, and the exposure above which nothing may go because of doubtful pools."""

    possible: tuple[Outcome, ...]
    exposure_limit: int | None = None


def outcomes_of(place: Place, offers: Offers) -> Outcomes:
    """What `place` comes to."""
    if place.refuse is not None:
        return Outcomes((Outcome(Action.REFUSE, reason=place.refuse),))
    if place.hold is not None:
        return Outcomes((Outcome(Action.HOLD, reason=place.hold),))
    open_, rejected, doubtful = _sieve(place, offers)
    limit = min((EXPOSURE[offer.pool.zone] for offer in doubtful), default=None)
    if place.parallel is not None:
        shares = {member.pool: member.share for member in place.parallel}
        chosen = [offer for offer in open_ if offer.pool.name in shares]
        if chosen:
            outcome, limit = _parallel(chosen, shares, offers, rejected, limit)
            return Outcomes((_paced(outcome, place, offers),), limit)
        open_ = [offer for offer in open_ if offer.pool.name not in shares]
    if not open_:
        return Outcomes((_nothing_open(place, rejected, doubtful),), limit)
    possible = [
        Outcome(
            Action.WAIT if offer.full(place.max_wait_s) is True else Action.RUN, (Member(offer),), rejected=rejected
        )
        for offer in _in_turn(open_, place.max_wait_s)
    ]
    return Outcomes(tuple(_paced(outcome, place, offers) for outcome in possible), limit)


def _sieve(place: Place, offers: Offers) -> tuple[list[Offer], dict[str, Rejection], list[Offer]]:
    """The named pools that the job may enter and pay for; why the others are out; those whose cost is doubtful."""
    world = offers.world
    open_: list[Offer] = []
    rejected: dict[str, Rejection] = {}
    doubtful: list[Offer] = []

    def reject(name: str, code: Obstacle, reason: str) -> None:
        rejected[name] = Rejection(pool=name, code=code, reason=reason)

    for name in place.pool_names:
        pool = world.pools.by_name.get(name)
        if pool is None:
            reject(name, Obstacle.UNKNOWN_POOL, "there is no such pool")
        elif (wall := shut_out(world.job.sensitivity, pool)) is not None:
            reject(name, Obstacle.ZONE, wall)
        elif world.signals(pool).paused:
            reject(name, Obstacle.PAUSED, "it is paused")
        else:
            offer = offers.of(pool)
            if offer.affordable is True:
                open_.append(offer)
                # Whatever comes after a pool that is free in time is not needed, so nothing is asked of it.
                if place.parallel is None and both(negate(offer.full(place.max_wait_s)), offer.in_time()) is True:
                    break
            elif offer.affordable is None:
                doubtful.append(offer)
                reject(name, Obstacle.COST_UNKNOWN, "it is not certain that its cost fits the budget")
            else:
                dear = f"{offer.reserve.least.quantize(Decimal('0.0001')):f} USD would exceed the budget"
                reject(name, Obstacle.OVER_BUDGET, dear)
    return open_, rejected, doubtful


def _nothing_open(place: Place, rejected: dict[str, Rejection], doubtful: list[Offer]) -> Outcome:
    codes = {rejection.code for rejection in rejected.values()}
    if doubtful:
        return Outcome(
            Action.HOLD,
            reason="its cost cannot be bounded while a price, a budget or its length is unknown",
            rejected=rejected,
        )
    if Obstacle.OVER_BUDGET in codes:
        if place.over_budget == "refuse":
            return Outcome(Action.REFUSE, reason="none of its pools fits the budget", rejected=rejected)
        return Outcome(Action.HOLD, reason=NEEDS_APPROVAL, rejected=rejected)
    if Obstacle.PAUSED in codes:
        return Outcome(
            Action.HOLD,
            reason="its pools are paused or have no worker online",
            rejected=rejected,
        )
    return Outcome(Action.HOLD, reason="the rule names no pool that the job may enter", rejected=rejected)


def _in_turn(offers: Sequence[Offer], max_wait_s: float) -> list[Offer]:
    """Every pool that may be the one: the first that is free and in time; failing that the first that is in time,
    then the first that is free, then the first."""
    ways: tuple[Callable[[Offer], bool | None], ...] = (
        lambda offer: both(negate(offer.full(max_wait_s)), offer.in_time()),
        Offer.in_time,
        lambda offer: negate(offer.full(max_wait_s)),
        lambda _offer: True,
    )
    found: dict[str, Offer] = {}
    for suits in ways:
        for offer in offers:
            answer = suits(offer)
            if answer is not False:
                found.setdefault(offer.pool.name, offer)
            if answer is True:
                return list(found.values())
    return list(found.values())


def _parallel(
    open_: list[Offer],
    shares: dict[str, float | None],
    offers: Offers,
    rejected: dict[str, Rejection],
    limit: int | None,
) -> tuple[Outcome, int | None]:
    """As many of the pools at once as the budget holds."""
    race = all(share is None for share in shares.values())
    rejected = dict(rejected)
    chosen = list(open_)
    safest = min(EXPOSURE[offer.pool.zone] for offer in open_)
    while len(chosen) > 1:
        affordable = offers.affordable(member.reserve() for member in _members(chosen, shares, race=race))
        if affordable is True:
            break
        if affordable is None:
            limit = safest if limit is None else min(limit, safest)
        # From a race the last named goes, from a split the dearest.
        gone = chosen[-1] if race else max(chosen, key=lambda offer: offer.reserve.most)
        chosen.remove(gone)
        rejected[gone.pool.name] = Rejection(
            pool=gone.pool.name,
            code=Obstacle.OVER_BUDGET,
            reason="the budget cannot cover it in addition to the others",
        )
    way = Way.ONE if len(chosen) == 1 else Way.RACE if race else Way.SPLIT
    return Outcome(Action.RUN, _members(chosen, shares, race=race), way, rejected=rejected), limit


def _members(chosen: Sequence[Offer], shares: dict[str, float | None], *, race: bool) -> tuple[Member, ...]:
    if race or len(chosen) == 1:
        return tuple(Member(offer) for offer in chosen)
    total = sum(shares[offer.pool.name] or 0.0 for offer in chosen)
    return tuple(Member(offer, (shares[offer.pool.name] or 0.0) / total) for offer in chosen)


def _paced(outcome: Outcome, place: Place, offers: Offers) -> Outcome:
    """The same with on-demand capacity instead of spot, where the job has fallen behind and the budget allows it."""
    world = offers.world
    job, now = world.job, world.snapshot.now
    if job.progress is None or job.deadline is None or not place.switch_to_on_demand:
        return outcome
    for member in outcome.members:
        twin = world.pools.by_name.get(member.offer.pool.on_demand or "")
        if twin is None or twin.name in {other.offer.pool.name for other in outcome.members}:
            continue
        offer = offers.of(twin)
        run_s = offer.run.least * member.share if offer.run.known else None
        why = why_on_demand(job.progress, now, job.deadline, run_s, world.policy.settings.changeover_s)
        if why is None:
            continue
        moved = tuple(Member(offer, other.share) if other is member else other for other in outcome.members)
        outcome = _moved(outcome, member.offer.pool, twin, moved, why, offers)
    return outcome


def _moved(outcome: Outcome, spot: Pool, twin: Pool, members: tuple[Member, ...], why: str, offers: Offers) -> Outcome:
    sentence = f"The job is behind: {why}."
    world = offers.world
    if shut_out(world.job.sensitivity, twin) is not None or world.signals(twin).paused:
        return replace(outcome, notes=(*outcome.notes, f"{sentence} {twin.name} cannot take it."))
    if offers.affordable(member.reserve() for member in members) is not True:
        return replace(outcome, notes=(*outcome.notes, f"{sentence} The budget cannot cover {twin.name}."))
    gone = Rejection(pool=spot.name, code=Obstacle.SWITCHED, reason=f"the job is behind: {why}")
    rejected = {name: rejection for name, rejection in outcome.rejected.items() if name != twin.name}
    return replace(
        outcome,
        members=members,
        rejected={**rejected, spot.name: gone},
        notes=(*outcome.notes, f"{sentence} It moves from {spot.name} to {twin.name}."),
    )


def _scaled(amount: MoneyReading, share: float) -> MoneyReading:
    if share == 1.0:
        return amount
    factor = Decimal(repr(share))
    return MoneyReading(amount.least * factor, amount.most * factor)
