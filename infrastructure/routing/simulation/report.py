"""What a simulated day cost and who waited, in figures that can be printed, stored and compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Capacity
from faceflow.infrastructure.routing.simulation.day import Day
from faceflow.infrastructure.routing.simulation.machines import Machines
from faceflow.job import FrozenModel


class Waits(FrozenModel):
    """Seconds from arrival to the first frame, of the jobs that began; None where none did."""

    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


class ClassReport(FrozenModel):
    """One class of jobs."""

    name: str
    jobs: int
    in_time: int
    late: int
    undone: int
    waits: Waits


class PoolReport(FrozenModel):
    """One pool."""

    name: str
    jobs: int
    gpu_hours: float
    """Hours in which GPUs were there: owned ones always, rented ones while they were paid for."""
    busy_hours: float
    use: float
    """Busy share of them."""
    interruptions: int
    machines_usd: float
    egress_usd: float


class Report(FrozenModel):
    """One policy on one day."""

    policy: str
    version: int
    hash: str
    jobs: int
    in_time: int
    late: int
    undone: int
    in_time_share: float
    waits: Waits
    paid_usd: float
    missed_usd: float
    """Jobs that were late or not done, at the price that the scenario gives them."""
    total_usd: float
    """Paid and missed: the measure by which policies are compared."""
    usd_per_1000_in_time: float | None
    """Paid for 1,000 jobs that were done in time."""
    decisions: dict[str, int]
    classes: tuple[ClassReport, ...]
    pools: tuple[PoolReport, ...]


def report(day: Day, name: str, class_names: tuple[str, ...]) -> Report:
    """The figures of a day."""
    in_time = day.finished <= day.deadline
    done = ~np.isnan(day.finished)
    pools = tuple(_pool(machines, day) for machines in day.machines.values())
    paid = sum(pool.machines_usd + pool.egress_usd for pool in pools)
    missed = float(day.scenario.missed_job_usd) * int((~in_time).sum())
    count = int(in_time.sum())
    return Report(
        policy=name,
        version=day.policy.version,
        hash=day.policy.hash,
        jobs=len(in_time),
        in_time=count,
        late=int((done & ~in_time).sum()),
        undone=int((~done).sum()),
        in_time_share=round(count / max(1, len(in_time)), 5),
        waits=_waits(day.begun - day.arrived),
        paid_usd=round(paid, 2),
        missed_usd=round(missed, 2),
        total_usd=round(paid + missed, 2),
        usd_per_1000_in_time=round(paid / count * 1000, 4) if count else None,
        decisions=day.decisions,
        classes=tuple(_class(day, kind, label) for kind, label in enumerate(class_names)),
        pools=pools,
    )


def pools_named(policy: Policy) -> set[str]:
    """Pools that a policy can use at all. A company with this policy has no others, so it does not pay for them."""
    places = [rule.place for rule in policy.rules] + ([policy.default] if policy.default else [])
    return {name for place in places for name in place.pool_names}


def _class(day: Day, kind: int, name: str) -> ClassReport:
    chosen = day.kind == kind
    in_time = (day.finished <= day.deadline)[chosen]
    done = ~np.isnan(day.finished)[chosen]
    return ClassReport(
        name=name,
        jobs=int(chosen.sum()),
        in_time=int(in_time.sum()),
        late=int((done & ~in_time).sum()),
        undone=int((~done).sum()),
        waits=_waits((day.begun - day.arrived)[chosen]),
    )


def _waits(waits: NDArray[np.float64]) -> Waits:
    begun = waits[~np.isnan(waits)]
    if not len(begun):
        return Waits(p50_s=None, p95_s=None, p99_s=None)
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(begun, [50, 95, 99]))
    return Waits(p50_s=p50, p95_s=p95, p99_s=p99)


def _pool(machines: Machines, day: Day) -> PoolReport:
    pool, ledger = machines.pool, machines.ledger
    busy = sum(ended - begun for begun, ended in ledger.busy) / 3600
    there, cost = ledger.rented_s / 3600, ledger.rented_usd
    if pool.capacity is Capacity.OWNED:
        there = pool.gpus * day.ended / 3600 if pool.name in pools_named(day.policy) else 0.0
        cost = there * float(pool.idle_usd_per_gpu_hour) + busy * float(pool.price_usd_per_gpu_hour)
    return PoolReport(
        name=pool.name,
        jobs=ledger.jobs,
        gpu_hours=round(there, 2),
        busy_hours=round(busy, 2),
        use=round(busy / there, 4) if there else 0.0,
        interruptions=ledger.interruptions,
        machines_usd=round(cost, 2),
        egress_usd=round(ledger.gigabytes * float(pool.egress_usd_per_gb), 2),
    )
