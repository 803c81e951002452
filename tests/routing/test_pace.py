"""A job that falls behind the straight line to its deadline moves to on-demand capacity, if the budget holds it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Obstacle
from faceflow.infrastructure.routing.pace import why_on_demand
from faceflow.infrastructure.routing.policy import Place, Policy, Rule
from faceflow.infrastructure.routing.snapshot import JobProgress
from faceflow.infrastructure.routing.wording import explain
from tests.routing.worlds import NOW, canonical, job, snapshot

_, POOLS = canonical()
SPOT = Policy(version=3, rules=(Rule(name="spot", place=Place(prefer=("aws-g4dn-spot",))),))
HOUR = timedelta(hours=1)


def late_job(done: float, *, on_demand: bool = False, **facts):
    """Half of its ten hours have passed."""
    progress = JobProgress(done=done, started_at=NOW - 5 * HOUR, on_demand=on_demand)
    facts = {"output_bytes": 0, **facts}
    return job(id="long", attempt=2, frames=400_000, deadline=NOW + 5 * HOUR, progress=progress, **facts)


@pytest.mark.parametrize(
    ("done", "on_demand", "pool"),
    [
        (0.49, False, "aws-g4dn-on-demand"),
        (0.51, False, "aws-g4dn-spot"),
        (0.505, True, "aws-g4dn-on-demand"),  # not yet two changeovers (1 %) ahead: it does not swing back
        (0.52, True, "aws-g4dn-spot"),
    ],
)
def test_straight_line(done, on_demand, pool):
    decision = decide(late_job(done, on_demand=on_demand), SPOT, snapshot(), POOLS)
    assert [placement.pool for placement in decision.placements] == [pool]


def test_it_says_why():
    decision = decide(late_job(0.2), SPOT, snapshot(), POOLS)
    [switched] = [rejection for rejection in decision.rejected if rejection.code is Obstacle.SWITCHED]
    assert switched.pool == "aws-g4dn-spot"
    assert "20% of the work is done when 50% of the time has passed" in switched.reason
    assert "It moves from aws-g4dn-spot to aws-g4dn-on-demand." in explain(decision)


def test_safety_net_near_the_deadline():
    deadline = NOW + timedelta(seconds=1000)
    ahead = JobProgress(done=0.999, started_at=NOW - timedelta(hours=10))
    assert why_on_demand(ahead, NOW, deadline, run_s=700, changeover_s=180) == "only 1000 s are left for 700 s of work"
    assert why_on_demand(ahead, NOW, deadline, run_s=600, changeover_s=180) is None


def test_a_budget_is_not_broken_for_a_deadline():
    left = 0.8 * 400_000 * 0.0158 / 3600  # hours on one T4, about
    enough = decide(late_job(0.2, budget_usd=round(left * 0.526 * 1.2 * 1.5, 4)), SPOT, snapshot(), POOLS)
    assert enough.placements[0].pool == "aws-g4dn-on-demand"
    spot_only = decide(late_job(0.2, budget_usd=round(left * 0.21 * 1.2 * 1.5, 4)), SPOT, snapshot(), POOLS)
    assert spot_only.placements[0].pool == "aws-g4dn-spot"
    assert any("budget cannot cover aws-g4dn-on-demand" in note for note in spot_only.notes)


@pytest.mark.parametrize("done", [float("nan"), -1.0, 7.0, float("inf")])
def test_absurd_progress_moves_nothing(done):
    decision = decide(late_job(done), SPOT, snapshot(), POOLS)
    assert decision.placements[0].pool == "aws-g4dn-spot"
    assert any("implausible" in note for note in decision.notes)


def test_the_rule_can_forbid_it():
    stay = Policy(
        version=3, rules=(Rule(name="spot", place=Place(prefer=("aws-g4dn-spot",), switch_to_on_demand=False)),)
    )
    assert decide(late_job(0.2), stay, snapshot(), POOLS).placements[0].pool == "aws-g4dn-spot"
