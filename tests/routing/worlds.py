"""Jobs, snapshots and pools to decide about, and random worlds for property tests.

Worlds are made from a `Random` and not from strategies drawn one by one: that is ten times faster and spreads evenly,
and a world is found again by its seed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from faceflow.infrastructure.routing.gpu_seconds import known_gpus
from faceflow.infrastructure.routing.loading import load_policy, load_pools
from faceflow.infrastructure.routing.policy import Place, Policy, PolicySettings, Rule, Share, When
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.snapshot import JobFacts, JobProgress, MoneySignal, PoolSignals, Signal, Snapshot
from faceflow.job import Priority, Sensitivity
from faceflow.zones import Zone

POLICIES = Path(__file__).parents[2] / "deployments" / "policies"
NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


def canonical() -> tuple[Policy, Pools]:
    """The example policy that is shipped, and its pools."""
    pools = load_pools((POLICIES / "pools.yaml").read_text(), "pools.yaml")
    return load_policy((POLICIES / "canonical.yaml").read_text(), pools, "canonical.yaml"), pools


def job(**facts: Any) -> JobFacts:
    """A short public clip at 1080p, unless said otherwise."""
    known = {"id": "job-1", "frames": 450, "width": 1920, "height": 1080, "faces": 1, "engine": "onnx"}
    return JobFacts(**{**known, **facts})


def snapshot(*, free: dict[str, int] | None = None, **facts: Any) -> Snapshot:
    """An ordinary evening: GPUs are free everywhere but where `free` says otherwise (then the queue holds 400 jobs)."""
    _, pools = canonical()
    free = free or {}
    signals = {
        pool.name: PoolSignals(
            free_gpus=free.get(pool.name, pool.gpus),
            queue_depth=400 if free.get(pool.name) == 0 else 0,
            spot_price_usd="0.21",
        )
        for pool in pools.pools
    }
    return Snapshot(**{"now": NOW, "peak_load": 0.4, "pools": signals, **facts})


NAMES = ("one", "two", "three", "four", "five", "six")
AMOUNTS = tuple(Decimal(text) for text in ("0", "0.0001", "0.003", "0.02", "0.2", "3", "40", "100000"))
BORDERS = (0.0, 0.1, 1.0, 2.0, 10.0, 300.0, 4000.0)


def some(r: Random, values: Any, most: int, *, least: int = 0) -> list[Any]:
    """A few of the values, in any order."""
    return r.sample(list(values), min(len(values), r.randint(least, most)))


def maybe(r: Random, values: Any) -> Any:
    """None, or one of the values."""
    return r.choice([None, r.choice(list(values))])


def bounds(r: Random) -> dict[str, Any]:
    """One border or two."""
    return {side: r.choice(BORDERS) for side in some(r, ("below", "at_most", "above", "at_least"), 2, least=1)}


def random_pools(r: Random) -> Pools:
    """Two to six pools in any zones; spot pools may have an on-demand twin."""
    made: list[Pool] = []
    for name in NAMES[: r.randint(2, len(NAMES))]:
        capacity, zone = r.choice([Capacity.SPOT, *Capacity]), r.choice([Zone.PUBLIC, *Zone])
        machines = {
            "zone": zone,
            "gpu": r.choice(["t4", "a100", *sorted(known_gpus())]),
            "gpus": r.choice([1, 4, 200]),
            "price_usd_per_gpu_hour": r.choice([Decimal(text) for text in ("0", "0.03", "0.5", "30")]),
            "egress_usd_per_gb": r.choice([Decimal(0), Decimal("0.09")]),
            "start_s": r.choice([0.0, 5.0, 300.0]),
        }
        twin = None
        if capacity is Capacity.SPOT and r.random() < 0.7:
            twin = f"{name}-on-demand"
            made.append(Pool(name=twin, capacity=Capacity.ON_DEMAND, **machines))
        interruptions = r.choice([0.0, 0.5]) if capacity is Capacity.SPOT else 0.0
        made.append(
            Pool(name=name, capacity=capacity, on_demand=twin, interruptions_per_hour=interruptions, **machines)
        )
    return Pools(pools=tuple(made))


def random_place(r: Random) -> Place:
    """Any placement, over pools that exist or not."""
    way = r.choice(["lock", "prefer", "prefer", "prefer", "race", "split", "hold", "refuse"])
    if way in {"hold", "refuse"}:
        return Place.model_validate({way: "so the test wants it"})
    names = r.sample((*NAMES, "nowhere"), len(NAMES) + 1)
    first = r.randint(1, 4)
    named, rest = names[:first], names[first : first + r.randint(0, 3)]
    options: dict[str, Any] = {
        "max_wait_s": r.choice([0.0, 100.0]),
        "switch_to_on_demand": r.choice([True, True, False]),
        "over_budget": r.choice(["hold", "refuse"]),
    }
    if way == "race":
        options["parallel"] = tuple(Share(pool=name) for name in named)
    elif way == "split":
        weights = [r.randint(1, 5) for _ in named]
        options["parallel"] = tuple(
            Share(pool=name, share=weight / sum(weights)) for name, weight in zip(named, weights, strict=True)
        )
    else:
        options[way] = named
    if rest and way != "lock":
        options["fallback"] = rest
    return Place(**options)


def random_when(r: Random) -> When:
    """Up to two conditions of any kind."""
    kinds = {
        "sensitivity": some(r, Sensitivity, 2, least=1),
        "priority": some(r, Priority, 2, least=1),
        "deadline_slack_s": bounds(r),
        "project": r.choice([["film-*"], ["default", "film-9"]]),
        "labels": {"kind": ["campaign"]},
        "duration_s": bounds(r),
        "height_px": bounds(r),
        "faces": bounds(r),
        "peak_load": bounds(r),
        "budget_left_usd": bounds(r),
        "time_of_day": {"from": "17:00", "to": "05:00"},
        **{
            name: {**bounds(r), "pool": r.choice((*NAMES, "nowhere"))}
            for name in ("free_gpus", "queue_depth", "spot_price_usd")
        },
    }
    return When.model_validate({name: kinds[name] for name in some(r, kinds, 2)})


def random_policy(r: Random) -> Policy:
    """Up to five rules, with or without a default."""
    count = r.randint(0, 5)
    return Policy(
        version=r.randint(1, 9),
        settings=PolicySettings(max_signal_age_s=100, cost_headroom=r.choice([Decimal(1), Decimal("1.3")])),
        rules=tuple(Rule(name=f"rule {index}", when=random_when(r), place=random_place(r)) for index in range(count)),
        default=maybe(r, [random_place(r)]),
    )


def blurred(r: Random, job: JobFacts) -> JobFacts:
    """The same job before anybody has looked into its files, or after its progress was lost."""
    hidden: dict[str, Any] = {name: None for name in ("frames", "width", "height", "faces") if r.random() < 0.2}
    if job.progress is not None and r.random() < 0.2:
        absurd = r.choice([float("nan"), -1.0, 7.0, 1e300])
        hidden["progress"] = job.progress.model_copy(update={"done": absurd})
    return job.model_copy(update=hidden)


def random_job(r: Random) -> JobFacts:
    """Any job or batch, with or without progress."""
    deadline = maybe(r, [-60, 30, 200, 4000, 10**6])
    progress = None
    if r.random() < 0.6:
        started = NOW - timedelta(seconds=r.choice([-5, 10, 3000]))
        progress = JobProgress(
            done=r.choice([0.0, 0.3, 0.97, 1.0]), started_at=started, on_demand=r.choice([True, False])
        )
    return JobFacts(
        id="job",
        attempt=r.randint(1, 3),
        count=r.choice([1, 1, 50]),
        project=r.choice(["default", "film-9"]),
        sensitivity=r.choice([Sensitivity.PUBLIC, *Sensitivity]),
        priority=r.choice(list(Priority)),
        labels=r.choice([{}, {"kind": "campaign"}]),
        deadline=None if deadline is None else NOW + timedelta(seconds=deadline),
        budget_usd=r.choice([None, None, *AMOUNTS]),
        frames=r.choice([1, 450, 450, 20_000, 20_000, 10**8]),
        width=1920,
        height=1080,
        faces=1,
        engine=r.choice(["mesh", "onnx", "another"]),
        progress=progress,
    )


def random_snapshot(r: Random, pools: Pools, engine: str) -> Snapshot:
    """A world in which every signal is there, fresh and possible."""
    age_s = r.choice([0.0, 50.0])

    def signal(value: float) -> Signal:
        return Signal(value=value, age_s=age_s, source="test")

    signals = {
        pool.name: PoolSignals(
            free_gpus=signal(r.choice([0, 1, pool.gpus])),
            queue_depth=signal(r.choice([0, 0, 1, 30, 20_000])),
            spot_price_usd=MoneySignal(
                value=pool.price_usd_per_gpu_hour * r.choice([Decimal("0.2"), Decimal("0.6"), Decimal(1)]),
                age_s=age_s,
                source="test",
            ),
            start_delay_s=r.choice([None, signal(20), signal(900)]),
            paused=r.random() < 0.1,
        )
        for pool in pools.pools
    }
    budget = r.choice([None, *AMOUNTS])
    return Snapshot(
        now=NOW,
        pools=signals,
        peak_load=signal(r.choice([0, 0.5, 1, 12])),
        budget_left_usd=None if budget is None else MoneySignal(value=budget, age_s=age_s, source="test"),
        corrections=r.choice([{}, {f"{engine}/t4": 4.0, f"{engine}/a100": 0.3}]),
    )


BAD = (None, None, float("nan"), float("inf"), float("-inf"), -1.0, -1e9, 1e12, 1e308)
BAD_MONEY = (None, *(Decimal(text) for text in ("NaN", "sNaN", "Infinity", "-Infinity", "-3E+12", "1E+12", "1E+300")))
BAD_AGES = (101.0, 1e12, float("nan"), -1.0, float("inf"))


def damaged(r: Random, whole: Snapshot, pools: Pools) -> Snapshot:
    """The same world seen through failing instruments: signals missing, absurd or too old."""
    severity = r.choice([0.1, 0.5, 1.0])

    def spoilt(signal: Any) -> Any:
        if signal is None or r.random() > severity:
            return signal
        if r.random() < 0.3:
            return signal.model_copy(update={"age_s": r.choice(BAD_AGES)})
        return signal.model_copy(update={"value": r.choice(BAD_MONEY if isinstance(signal, MoneySignal) else BAD)})

    signals = {}
    for name, seen in whole.pools.items():
        if r.random() < 0.1 and not seen.paused and seen.start_delay_s is None:
            continue  # nothing is heard of the pool at all
        changed = {
            field: spoilt(getattr(seen, field))
            for field in ("free_gpus", "queue_depth", "spot_price_usd", "start_delay_s")
        }
        signals[name] = seen.model_copy(update=changed)
    absurd = (float("nan"), -1.0, 0.0, 1e12)
    corrections = {
        name: r.choice(absurd) if r.random() < severity else factor for name, factor in whole.corrections.items()
    }
    return whole.model_copy(
        update={
            "pools": signals,
            "peak_load": spoilt(whole.peak_load),
            "budget_left_usd": spoilt(whole.budget_left_usd),
            "corrections": corrections,
        }
    )
