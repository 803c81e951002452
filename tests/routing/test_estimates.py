"""What a decision expects is reckoned as the documentation says, and budgets are kept with room to spare."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import faceflow.infrastructure.routing
import faceflow.infrastructure.routing.simulation
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action, Obstacle, Way
from faceflow.infrastructure.routing.policy import Place, Policy, PolicySettings, Rule
from faceflow.infrastructure.routing.pools import Pool, Pools
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.job import Source, SwapJob
from tests.routing.worlds import NOW, job

HOME = Pool(name="home", zone="private", capacity="owned", gpus=4, price_usd_per_gpu_hour=0, start_s=5)
SPOT = Pool(
    name="spot", zone="public", capacity="spot", gpus=9, price_usd_per_gpu_hour=2, start_s=60, egress_usd_per_gb="0.1"
)
DEAR = Pool(name="dear", zone="public", capacity="on_demand", gpu="h100", gpus=9, price_usd_per_gpu_hour=9)
POOLS = Pools(pools=(HOME, SPOT, DEAR))
WORK_S = 450 * (1920 * 1080 / 1e6 * 2.4 + 5 + 5) / 1000
GIGABYTES = 15 * 1920 * 1080 / 1e6 * 2 / 8e3


def policy(**place: object) -> Policy:
    settings = PolicySettings(mean_job_gpu_s=40, cost_headroom=Decimal("1.5"))
    return Policy(version=1, settings=settings, rules=(Rule(name="only", place=Place.model_validate(place)),))


def world(**facts: object) -> Snapshot:
    signals = {
        "home": {"free_gpus": 0, "queue_depth": 7},
        "spot": {"free_gpus": 9, "queue_depth": 0, "spot_price_usd": "0.5"},
        "dear": {"free_gpus": 9, "queue_depth": 0},
    }
    return Snapshot.model_validate({"now": NOW, "pools": signals, **facts})


def test_time_and_money_by_hand():
    estimate = decide(job(), policy(lock=["spot"]), world(), POOLS).estimate
    cost = 0.5 * WORK_S / 3600 + 0.1 * GIGABYTES
    assert estimate.gpu_s == pytest.approx(WORK_S, abs=1e-3)
    assert float(estimate.cost_usd) == pytest.approx(cost, abs=2e-6)
    assert float(estimate.reserve_usd) == pytest.approx(cost * 1.5, abs=3e-6)
    assert estimate.start_delay_s == 60
    assert estimate.finish_at == NOW + timedelta(seconds=round(60 + WORK_S, 3))
    assert isinstance(estimate.cost_usd, Decimal)


def test_a_queue_becomes_a_wait():
    decision = decide(job(), policy(lock=["home"]), world(), POOLS)
    assert decision.action is Action.WAIT
    assert decision.estimate.start_delay_s == pytest.approx((7 + 1) * 40 / 4 + 5)


def test_faster_gpus_and_corrections():
    plain = decide(job(), policy(lock=["dear"]), world(), POOLS).estimate
    assert plain.gpu_s == pytest.approx(WORK_S / 3.9, abs=1e-3)
    corrected = decide(job(), policy(lock=["dear"]), world(corrections={"onnx/h100": 2.0}), POOLS).estimate
    assert corrected.gpu_s == pytest.approx(2 * plain.gpu_s, abs=2e-3)
    absurd = decide(job(budget_usd=1), policy(lock=["dear"]), world(corrections={"onnx/h100": 1e9}), POOLS)
    assert absurd.estimate.gpu_s is None
    assert any("correction" in note for note in absurd.notes)


def test_interruptions_are_reckoned_with():
    shaky = Pools(pools=(SPOT.model_copy(update={"interruptions_per_hour": 10.0}),))
    estimate = decide(job(), policy(lock=["spot"]), world(), shaky).estimate
    assert estimate.gpu_s == pytest.approx(WORK_S * (1 + 10 * (60 + 30) / 3600), abs=1e-3)


@pytest.mark.parametrize(("budget", "pool"), [("0.1", "dear"), ("0.006", "spot"), ("0.0001", None)])
def test_the_budget_decides(budget, pool):
    rules = policy(prefer=["dear", "spot"])
    for limited, snapshot in (
        (job(budget_usd=budget), world()),
        (job(), world(budget_left_usd=budget)),
        (job(budget_usd=budget, count=20), world()),
    ):
        decision = decide(limited, rules, snapshot, POOLS)
        assert [placement.pool for placement in decision.placements] == ([pool] if pool else [])
        if pool is None:
            assert decision.action is Action.HOLD
            assert "waits for approval" in decision.reason
            assert {one.code for one in decision.rejected if one.pool != "home"} == {Obstacle.OVER_BUDGET}
    assert decide(job(budget_usd="0.0001"), policy(prefer=["dear"], over_budget="refuse"), world(), POOLS).action is (
        Action.REFUSE
    )


def test_a_race_is_paid_twice_so_it_may_have_to_be_a_walk():
    rules = policy(parallel=[{"pool": "spot"}, {"pool": "dear"}])
    both = decide(job(), rules, world(), POOLS)
    assert both.way is Way.RACE
    assert both.estimate.cost_usd == sum(one.estimate.cost_usd or 0 for one in both.placements) > 0
    short = decide(job(budget_usd="0.008"), rules, world(), POOLS)
    assert [one.pool for one in short.placements] == ["spot"]
    assert short.way is Way.ONE


def test_a_clip_of_unknown_length_goes_only_where_it_costs_nothing():
    unknown = job(frames=None, budget_usd=5)
    assert decide(unknown, policy(lock=["spot"]), world(), POOLS).action is Action.HOLD
    assert [one.pool for one in decide(unknown, policy(lock=["home"]), world(), POOLS).placements] == ["home"]
    free = decide(job(frames=None), policy(lock=["spot"]), world(), POOLS)
    assert [one.pool for one in free.placements] == ["spot"]
    assert free.estimate.cost_usd is None


def test_a_late_pool_is_passed_over_and_one_too_late_for_all_still_runs():
    soon = job(deadline=NOW + timedelta(seconds=70))
    decision = decide(soon, policy(prefer=["home", "spot", "dear"], max_wait_s=1000), world(), POOLS)
    assert [one.pool for one in decision.placements] == ["spot"]
    assert decision.estimate.meets_deadline is True
    [home] = [one for one in decision.rejected if one.pool == "home"]
    assert home.code is Obstacle.TOO_LATE
    too_soon = job(deadline=NOW + timedelta(seconds=1))
    decision = decide(too_soon, policy(prefer=["home", "spot"]), world(), POOLS)
    assert [one.pool for one in decision.placements] == ["spot"]
    assert decision.estimate.meets_deadline is False


def test_the_ends_of_the_calendar():
    """A deadline in the last year there is means "any time"; a clock that shows it is broken."""
    late = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    decision = decide(job(deadline=late, frames=10**8, count=100_000), policy(lock=["dear"]), world(), POOLS)
    assert decision.estimate.finish_at is None
    assert decision.estimate.meets_deadline is True
    with pytest.raises(ValueError, match="is wrong"):
        world(now=late)


def test_the_facts_of_a_swap_job():
    request = SwapJob(
        sources=(Source(portraits=("a.png",)),), target="t.mp4", output="o.mp4", sensitivity="private", priority="high",
        project="film-9", deadline=NOW, budget={"limit_usd": "3.5"},
    )  # fmt: skip
    facts = JobFacts.of(request, "id-1", frames=90, labels={"kind": "x"})
    assert (facts.sensitivity, facts.priority, facts.project, facts.engine) == ("private", "high", "film-9", "mesh")
    assert (facts.budget_usd, facts.deadline, facts.frames) == (Decimal("3.5"), NOW, 90)


@pytest.mark.parametrize(
    "package",
    [faceflow.infrastructure.routing, faceflow.infrastructure.routing.simulation],
    ids=["routing", "simulation"],
)
def test_no_clock_and_no_file_is_read(package):
    """Time comes in through the snapshot; imports are checked by `make lint`, calls are checked here."""
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"now", "utcnow", "today", "getenv"}, path.name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "input"}, path.name
