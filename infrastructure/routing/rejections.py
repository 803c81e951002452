"""Why a job did not go to each of the other pools, in one sentence a pool."""

from __future__ import annotations

from faceflow.infrastructure.routing.decision import Action, Obstacle, Rejection
from faceflow.infrastructure.routing.offers import Offer, Offers
from faceflow.infrastructure.routing.outcomes import Outcome
from faceflow.infrastructure.routing.policy import Place
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.wall import shut_out


def rejections(outcome: Outcome, place: Place | None, rule: str | None, offers: Offers) -> tuple[Rejection, ...]:
    """One for every pool of the list, and every unknown one that the rule names, that did not get the job."""
    taken = {member.offer.pool.name for member in outcome.members}
    named = place.pool_names if place is not None else ()
    found = []
    for pool in offers.world.pools.pools:
        if pool.name in taken:
            continue
        known = outcome.rejected.get(pool.name)
        found.append(known if known is not None else _why(pool, outcome, place, named, rule, offers))
    unknown = [name for name in named if name not in offers.world.pools.by_name and name in outcome.rejected]
    return (*found, *(outcome.rejected[name] for name in unknown))


def _why(
    pool: Pool, outcome: Outcome, place: Place | None, named: tuple[str, ...], rule: str | None, offers: Offers
) -> Rejection:
    wall = shut_out(offers.world.job.sensitivity, pool)
    if wall is not None:
        return Rejection(pool=pool.name, code=Obstacle.ZONE, reason=wall)
    if place is None or rule is None:
        return Rejection(pool=pool.name, code=Obstacle.NOT_NAMED, reason="no matching rule names it")
    if pool.name not in named:
        return Rejection(pool=pool.name, code=Obstacle.NOT_NAMED, reason=f"rule '{rule}' does not name it")
    offer = offers.made(pool)
    if offer is None:
        return Rejection(
            pool=pool.name, code=Obstacle.NOT_NEEDED, reason="a pool that the rule names before it can take the job"
        )
    return _passed_over(offer, outcome, place, named)


def _passed_over(offer: Offer, outcome: Outcome, place: Place, named: tuple[str, ...]) -> Rejection:
    """A pool that the job could have had, but another one was chosen."""
    name = offer.pool.name
    if outcome.action in {Action.HOLD, Action.REFUSE}:
        return Rejection(pool=name, code=Obstacle.LESS_CAREFUL, reason="the job is not sent anywhere for now")
    chosen = outcome.members[0].offer
    if offer.in_time() is False and chosen.in_time() is not False:
        return Rejection(pool=name, code=Obstacle.TOO_LATE, reason="the job would end there after its deadline")
    if offer.full(place.max_wait_s) is True:
        wait = f"about {offer.wait.least:.0f} s" if offer.wait.known else f"at least {offer.wait.least:.0f} s"
        return Rejection(pool=name, code=Obstacle.FULL, reason=f"it is full: the wait for a GPU is {wait}")
    if chosen.pool.name in named and named.index(name) < named.index(chosen.pool.name):
        reason = f"it is not certain to be free in time, and {chosen.pool.name} is the more cautious choice"
        return Rejection(pool=name, code=Obstacle.LESS_CAREFUL, reason=reason)
    return Rejection(pool=name, code=Obstacle.NOT_NEEDED, reason=f"{chosen.pool.name} comes before it")
