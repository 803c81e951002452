"""The simulated day is a fair witness: nothing is lost or done twice, money is counted, and nobody beats the bound."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from faceflow.infrastructure.routing.gpu_seconds import speed
from faceflow.infrastructure.routing.loading import load_model, load_policy, load_pools
from faceflow.infrastructure.routing.policy import Place, Policy, Rule, Share
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.simulation.arrivals import Unit, generate, jobs_in
from faceflow.infrastructure.routing.simulation.bound import lower_bound_usd
from faceflow.infrastructure.routing.simulation.day import Day, simulate
from faceflow.infrastructure.routing.simulation.prices import Prices
from faceflow.infrastructure.routing.simulation.report import Report, report
from faceflow.infrastructure.routing.simulation.scenario import Curve, JobClass, Scenario
from tests.routing.worlds import POLICIES

OWNED = Pool(
    name="ours", zone="private", capacity="owned", gpus=2, price_usd_per_gpu_hour="0.05", idle_usd_per_gpu_hour="0.15"
)
ON_DEMAND = Pool(
    name="rented", zone="public", capacity="on_demand", gpus=4, price_usd_per_gpu_hour="1", start_s=100,
    egress_usd_per_gb="0.1",
)  # fmt: skip
SPOT = Pool(
    name="spot",
    zone="public",
    capacity="spot",
    gpus=3,
    price_usd_per_gpu_hour="1",
    start_s=50,
    interruptions_per_hour=6,
)


def rules(**place: object) -> Policy:
    return Policy(version=1, rules=(Rule(name="all", place=Place.model_validate(place)),))


def run(scenario: Scenario, policy: Policy, *pools: Pool) -> tuple[Day, Report, list[Unit]]:
    units = generate(scenario)
    day = simulate(scenario, units, policy, Pools(pools=pools))
    return day, report(day, "test", tuple(one.name for one in scenario.classes)), units


def scenario(**options: object) -> Scenario:
    clips = JobClass(name="clips", jobs=600, curve=Curve.FLAT, deadline_s=1800, batch=10)
    return Scenario(
        **{"hours": 2, "drain_hours": 4, "classes": (clips,), "begin": datetime(2026, 1, 1, tzinfo=UTC), **options}
    )


def test_the_generated_day_is_what_was_asked_for():
    units = generate(scenario())
    assert jobs_in(units) == 600
    assert max(len(unit.arrivals) for unit in units) <= 10
    numbers = sorted(number for unit in units for number in range(unit.first, unit.first + len(unit.arrivals)))
    assert numbers == list(range(600))
    times = [unit.decided_at for unit in units]
    assert times == sorted(times)
    assert all(np.ptp(unit.arrivals) <= 60 for unit in units)
    campaign = JobClass(name="campaign", jobs=20_000, curve=Curve.CAMPAIGN)
    hours = np.concatenate([unit.arrivals for unit in generate(scenario(hours=24, classes=(campaign,)))]) / 3600
    launch, night = ((hours >= 9) & (hours < 10)).sum(), ((hours >= 3) & (hours < 4)).sum()
    assert launch > 8 * night


def test_one_job_is_timed_and_paid_by_hand():
    """One job of 450 frames at 720p on a rented T4: 100 s to start, then its work; the machine idles 300 s more."""
    one = JobClass(name="one", jobs=1, curve=Curve.FLAT)
    day, told, units = run(scenario(classes=(one,)), rules(lock=["rented"]), ON_DEMAND)
    work = 450 * (1280 * 720 / 1e6 * 2.4 + 5 + 6) / 1000
    assert units[0].reference_s == pytest.approx(work)
    assert day.begun[0] - day.arrived[0] == pytest.approx(100)
    assert day.finished[0] - day.begun[0] == pytest.approx(work / speed("onnx", "t4"))
    [pool] = told.pools
    assert pool.machines_usd == pytest.approx((100 + work + 300) / 3600 * 1.0, abs=0.006)
    assert day.machines["rented"].ledger.gigabytes == pytest.approx(15 * 0.9216 * 2 / 8e3)


def test_owned_machines_cost_while_they_idle_but_only_for_those_who_have_them():
    _, told, _ = run(scenario(), rules(lock=["ours"]), OWNED, ON_DEMAND)
    ours = told.pools[0]
    assert ours.machines_usd == pytest.approx(ours.gpu_hours * 0.15 + ours.busy_hours * 0.05, abs=0.01)
    assert ours.gpu_hours == pytest.approx(4, abs=0.2)
    _, told, _ = run(scenario(), rules(lock=["rented"]), OWNED, ON_DEMAND)
    assert told.pools[0].machines_usd == 0


def test_interrupted_work_is_finished_elsewhere_and_nothing_twice():
    day, told, _ = run(scenario(), rules(prefer=["spot"]), SPOT)
    [spot] = told.pools
    assert spot.interruptions > 3
    assert told.undone == 0
    assert spot.jobs == 600, "every job counted once"
    assert (day.begun >= day.arrived).all()


def test_a_race_counts_the_first_result():
    _, alone, _ = run(scenario(), rules(lock=["rented"]), OWNED, ON_DEMAND)
    policy = rules(parallel=[Share(pool="rented"), Share(pool="ours")])
    _, raced, _ = run(scenario(), policy, OWNED, ON_DEMAND)
    assert raced.undone == 0
    assert raced.waits.p95_s is not None
    assert alone.waits.p95_s is not None
    assert raced.waits.p95_s <= alone.waits.p95_s


def test_a_split_gives_each_its_share():
    policy = rules(parallel=[Share(pool="rented", share=0.3), Share(pool="ours", share=0.7)])
    _, told, _ = run(scenario(), policy, OWNED, ON_DEMAND)
    ours, rented = told.pools
    assert ours.jobs + rented.jobs == 600
    assert rented.jobs == pytest.approx(180, abs=40)


def test_what_cannot_be_placed_is_missed():
    private = JobClass(name="private", jobs=20, curve=Curve.FLAT, sensitivity="private")
    _, told, _ = run(scenario(classes=(private,)), rules(lock=["rented"]), ON_DEMAND)
    assert (told.undone, told.in_time) == (20, 0)
    assert told.missed_usd == pytest.approx(20 * 0.01)
    assert told.paid_usd == 0


def test_the_same_day_twice():
    first, second = (run(scenario(), rules(prefer=["spot"], fallback=["rented"]), SPOT, ON_DEMAND)[1] for _ in range(2))
    assert first == second
    other = run(scenario(seed=2), rules(prefer=["spot"], fallback=["rented"]), SPOT, ON_DEMAND)[1]
    assert other != first


@pytest.mark.parametrize(
    "place", [{"lock": ["ours"]}, {"lock": ["rented"]}, {"prefer": ["ours"], "fallback": ["spot"]}]
)
@pytest.mark.parametrize("missed", ["0.0001", "0.01"])
def test_nobody_beats_the_bound(place, missed):
    world = scenario(missed_job_usd=missed)
    pools = (OWNED, ON_DEMAND, SPOT)
    _, told, units = run(world, rules(**place), *pools)
    bound = lower_bound_usd(world, units, Pools(pools=pools))
    idle = 0.0 if "ours" in str(place) else 2 * 2 * 0.15  # who owns no machine does not pay for one
    assert 0 < bound - idle <= told.total_usd + 0.01


def test_the_bound_by_hand():
    """Ten jobs, one rented GPU at one dollar: their hours and their egress, where missing them is dearer."""
    ten = JobClass(name="ten", jobs=10, curve=Curve.FLAT)
    rented = ON_DEMAND.model_copy(update={"gpus": 1})
    for missed, expected in (
        ("1", 10 * 450 * (1280 * 720 / 1e6 * 2.4 + 11) / 1000 / 3600 + 0.1 * 10 * 15 * 0.9216 * 2 / 8e3),
        ("0.0001", 0.001),
    ):
        world = scenario(classes=(ten,), missed_job_usd=missed)
        assert lower_bound_usd(world, generate(world), Pools(pools=(rented,))) == pytest.approx(expected)


def test_the_bound_may_miss_the_large_and_do_the_small():
    """One huge clip among nine short ones, and a missed one costs a cent: best is to miss the huge one alone."""
    clips = JobClass(name="clips", jobs=9, curve=Curve.FLAT, frames=450)
    huge = JobClass(name="huge", jobs=1, curve=Curve.FLAT, frames=450_000)
    world = scenario(hours=1, drain_hours=1, classes=(clips, huge))
    rented = ON_DEMAND.model_copy(update={"egress_usd_per_gb": 0})
    small = 9 * 450 * (1280 * 720 / 1e6 * 2.4 + 11) / 1000 / 3600
    assert lower_bound_usd(world, generate(world), Pools(pools=(rented,))) == pytest.approx(small + 0.01)


def test_spot_prices_stay_below_the_list_price_and_add_up():
    prices = Prices(SPOT, scenario(spot_price_share={"spot": 0.9}, spot_price_swing=1.0), 0)
    seen = [float(prices.at(moment)) for moment in range(0, 6 * 3600, 600)]
    assert 0 < min(seen) < max(seen) <= 1.0
    assert prices.paid(0, 3600) == pytest.approx(sum(seen[:6]) / 6, rel=1e-3)
    assert prices.lowest(0, 3600) == pytest.approx(min(seen[:6]), abs=1e-4)
    assert Prices(OWNED, scenario(), 0).paid(0, 7200) == pytest.approx(0.10)
    assert OWNED.capacity is Capacity.OWNED


def test_machines_that_are_not_needed_are_given_back():
    """A rush of four, then one job a minute: one machine can do these, and the others must not take turns with it."""
    rush = JobClass(name="rush", jobs=4, curve=Curve.FLAT)
    trickle = JobClass(name="trickle", jobs=120, curve=Curve.FLAT)
    world = scenario(classes=(rush, trickle))
    units = [
        replace(unit, arrivals=np.array([0.0 if unit.kind == 0 else 60.0 * (unit.first - 3)]))
        for unit in generate(world)
    ]
    units.sort(key=lambda unit: unit.decided_at)
    policy = rules(lock=["rented"])
    day = simulate(world, units, policy, Pools(pools=(ON_DEMAND,)))
    told = report(day, "test", ("rush", "trickle"))
    assert told.undone == 0
    assert told.pools[0].gpu_hours < 3, "served in turn all four would stay for the two hours"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_campaign_day():
    """Show F: 500,000 jobs in under a minute; hybrid beats private only and cloud only, and nobody the bound."""
    folder = POLICIES.parent
    pools = load_pools((POLICIES / "pools.yaml").read_text(), "pools")
    world = load_model(Scenario, (folder / "scenarios" / "campaign-day.yaml").read_text(), "scenario")
    units = generate(world)
    assert jobs_in(units) == 500_000
    told = {}
    for name in ("private-only", "cloud-only", "canonical", "thrifty"):
        begun = time.process_time()
        day = simulate(world, units, load_policy((POLICIES / f"{name}.yaml").read_text(), pools, name), pools)
        assert time.process_time() - begun < 60
        told[name] = report(day, name, tuple(one.name for one in world.classes))
    assert told["canonical"].in_time_share == told["thrifty"].in_time_share == 1.0
    others = min(told["private-only"].total_usd, told["cloud-only"].total_usd)
    assert told["thrifty"].total_usd < told["canonical"].total_usd < others
    bound = lower_bound_usd(world, units, pools)
    assert bound < told["thrifty"].total_usd < 1.4 * bound
