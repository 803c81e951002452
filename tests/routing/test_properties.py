"""Show B: in random worlds the walls hold, budgets hold, and failing instruments never loosen anything."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action, Decision, Obstacle, Way
from faceflow.infrastructure.routing.offers import Offers
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.infrastructure.routing.wall import EXPOSURE
from faceflow.infrastructure.routing.wording import explain
from faceflow.infrastructure.routing.world import World
from faceflow.zones import ALLOWED_ZONES
from tests.routing import worlds

QUICK, FULL = 300, 20_000


@dataclass(frozen=True)
class RandomWorld:
    """A world as it is, and as it is seen through failing instruments."""

    policy: Policy
    pools: Pools
    job: JobFacts
    true: Snapshot
    seen_job: JobFacts
    seen: Snapshot

    def right(self) -> Decision:
        """The decision of somebody who knows everything."""
        return decide(self.job, self.policy, self.true, self.pools)

    def careful(self) -> Decision:
        """The decision of somebody who does not."""
        return decide(self.seen_job, self.policy, self.seen, self.pools)


def random_world(seed: int) -> RandomWorld:
    r = Random(seed)
    pools, job = worlds.random_pools(r), worlds.random_job(r)
    true = worlds.random_snapshot(r, pools, job.engine)
    return RandomWorld(
        worlds.random_policy(r), pools, job, true, worlds.blurred(r, job), worlds.damaged(r, true, pools)
    )


def reserve(world: RandomWorld, decision: Decision, *, worst: bool) -> Decimal:
    """What a decision's placements take from the budgets: truly, or at the worst that could be seen."""
    job, snapshot = (world.seen_job, world.seen) if worst else (world.job, world.true)
    offers = Offers(World(job, world.policy, snapshot, world.pools))
    total = Decimal(0)
    for placement in decision.placements:
        share = Decimal(1) if decision.way is Way.RACE else Decimal(repr(placement.share))
        total += offers.of(world.pools.by_name[placement.pool]).reserve.most * share
    return total


def exposure(decision: Decision) -> int:
    return max((EXPOSURE[placement.zone] for placement in decision.placements), default=-1)


def check(world: RandomWorld) -> None:
    job, pools = world.job, world.pools
    right, careful = world.right(), world.careful()
    assert (world.right(), world.careful()) == (right, careful), "same input, same decision"

    for decision in (right, careful):
        # Never outside the zones.
        for placement in decision.placements:
            pool = pools.by_name[placement.pool]
            assert placement.zone is pool.zone
            assert pool.zone in ALLOWED_ZONES[job.sensitivity]
        # Never over a budget, whatever the instruments said.
        spent = reserve(world, decision, worst=False)
        if job.budget_usd is not None:
            assert spent <= job.budget_usd * job.count
        if world.true.budget_left_usd is not None and world.true.budget_left_usd.value is not None:
            assert spent <= world.true.budget_left_usd.value
        # It can be put in words, and stored.
        assert explain(decision)
        assert Decision.model_validate_json(decision.model_dump_json()) == decision
        # Every pool is accounted for, once.
        taken = {placement.pool for placement in decision.placements}
        refused = [rejection.pool for rejection in decision.rejected]
        assert taken.isdisjoint(refused)
        assert len(set(refused)) == len(refused)
        assert set(pools.by_name) <= taken | set(refused)
        # A job is sent somewhere, or nowhere.
        assert bool(decision.placements) == (decision.action in {Action.RUN, Action.WAIT})

    # Failing instruments loosen nothing: the place is no less protected ...
    assert exposure(careful) <= exposure(right)
    # ... a job is not refused for good because of them ...
    if careful.action is Action.REFUSE:
        assert right.action is Action.REFUSE
    # ... and it costs no more than what it would have cost, at the prices that have to be reckoned with.
    # (A job that is not known to be late stays on spot capacity; at worst that costs its interruptions more than the
    # on-demand capacity to which it would have moved.)
    moved = any(rejection.code is Obstacle.SWITCHED for rejection in right.rejected)
    if careful.placements and not moved:
        assert reserve(world, careful, worst=True) <= reserve(world, right, worst=True)


SEEDS = st.integers(0, 2**63)
limits = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=QUICK, **limits)
@given(SEEDS)
def test_walls_and_budgets_hold(seed):
    check(random_world(seed))


@pytest.mark.full
@pytest.mark.timeout(3000)
@settings(max_examples=FULL, **limits)
@given(SEEDS)
def test_walls_and_budgets_hold_in_twenty_thousand_worlds(seed):
    check(random_world(seed))


def test_the_worlds_are_worth_trying():
    """Every kind of answer occurs, and failing instruments change many of them."""
    decided = [(world.right(), world.careful()) for world in map(random_world, range(1500))]
    right = [decision for decision, _ in decided]
    assert {decision.action for decision in right} == set(Action)
    assert {decision.way for decision in right} == set(Way)
    codes = {rejection.code for both in decided for decision in both for rejection in decision.rejected}
    assert codes == set(Obstacle)
    assert sum(bool(decision.placements) for decision in right) > 300
    changed = sum(
        [placement.pool for placement in one.placements] != [placement.pool for placement in other.placements]
        for one, other in decided
    )
    assert changed > 100
