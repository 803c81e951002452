"""What nobody could have done better: a lower bound by linear programming.

A planner who knows the whole day ahead, may divide jobs at will, moves work without loss, starts machines in no time,
is never interrupted and pays in each hour the lowest spot price of that hour. It keeps the walls and the sizes of the
pools, pays for owned machines as the policies do, and may miss a job for the price that the scenario gives it. All
that it is allowed beyond a real scheduler makes it cheaper, so no policy over these pools can cost less (as long as it
has the same owned machines).

    minimise   sum of price x hours + egress x jobs + missed x price of a missed job
    such that  every group of jobs (alike, of one hour of arrival and deadline) is worked between these hours, or missed
               no pool works more hours in an hour than it has GPUs
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from faceflow.infrastructure.routing.gpu_seconds import result_gigabytes, speed
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.simulation.arrivals import Unit
from faceflow.infrastructure.routing.simulation.prices import Prices
from faceflow.infrastructure.routing.simulation.scenario import Scenario
from faceflow.infrastructure.routing.snapshot import JobFacts
from faceflow.job import Sensitivity
from faceflow.zones import ALLOWED_ZONES

SLOT_S = 3600.0


_Key = tuple[Sensitivity, str, int, int, int]
"""Sensitivity, engine, size (in steps of a tenth), slot of arrival, slot of deadline."""


@dataclass(slots=True)
class _Group:
    """Jobs of about one size that arrive in one slot and are due in the same one. Each counts as the smallest of them:
    with the mean, missing a large one would seem dearer than it is, and the bound would be too high."""

    facts: JobFacts
    reference_s: float = math.inf
    gigabytes: float = math.inf
    jobs: int = 0


def lower_bound_usd(scenario: Scenario, units: Sequence[Unit], pools: Pools) -> float:
    """The least that the day can cost with these pools, paid and missed together, in US dollars."""
    slots = int(np.ceil((scenario.hours + scenario.drain_hours) * 3600 / SLOT_S))
    groups = _groups(units, slots)
    prices = {pool.name: Prices(pool, scenario, number) for number, pool in enumerate(pools.pools)}
    costs: list[float] = []
    works: list[tuple[int, int, float]] = []  # group, variable, share of the group that one hour of it does
    uses: list[tuple[int, int]] = []  # pool and slot, variable
    for number, ((*_, first, last), group) in enumerate(groups.items()):
        for position, pool in enumerate(pools.pools):
            if pool.zone not in ALLOWED_ZONES[group.facts.sensitivity]:
                continue
            hours = group.jobs * group.reference_s / speed(group.facts.engine, pool.gpu) / 3600
            egress = group.jobs * group.gigabytes * float(pool.egress_usd_per_gb)
            for slot in range(first, last + 1):
                uses.append((position * slots + slot, len(costs)))
                works.append((number, len(costs), 1 / hours))
                costs.append(_price(pool, prices[pool.name], slot) + egress / hours)
    missed = len(costs)
    costs += [float(scenario.missed_job_usd) * group.jobs for group in groups.values()]
    works += [(number, missed + number, 1.0) for number in range(len(groups))]
    solved = linprog(
        np.array(costs),
        A_ub=_matrix([(row, column, 1.0) for row, column in uses], len(pools.pools) * slots, len(costs)),
        b_ub=np.repeat([pool.gpus * SLOT_S / 3600 for pool in pools.pools], slots),
        A_eq=_matrix(works, len(groups), len(costs)),
        b_eq=np.ones(len(groups)),
        method="highs",
    )
    if not solved.success:
        raise ArithmeticError(f"the linear program was not solved: {solved.message}")
    return float(solved.fun) + _owned_usd(scenario, pools)


def _groups(units: Sequence[Unit], slots: int) -> dict[_Key, _Group]:
    groups: dict[_Key, _Group] = {}
    for unit in units:
        facts, reference_s = unit.facts, unit.reference_s
        size = round(math.log(reference_s, 1.1))
        for arrival in unit.arrivals:
            last = slots - 1 if unit.deadline_s is None else min(slots - 1, int((arrival + unit.deadline_s) / SLOT_S))
            key = (facts.sensitivity, facts.engine, size, min(int(arrival / SLOT_S), last), last)
            group = groups.setdefault(key, _Group(facts))
            group.jobs += 1
            group.reference_s = min(group.reference_s, reference_s)
            group.gigabytes = min(group.gigabytes, result_gigabytes(facts) or 0.0)
    return groups


def _price(pool: Pool, prices: Prices, slot: int) -> float:
    if pool.capacity is Capacity.SPOT:
        return prices.lowest(slot * SLOT_S, (slot + 1) * SLOT_S)
    return float(pool.price_usd_per_gpu_hour)


def _owned_usd(scenario: Scenario, pools: Pools) -> float:
    return scenario.hours * sum(
        pool.gpus * float(pool.idle_usd_per_gpu_hour) for pool in pools.pools if pool.capacity is Capacity.OWNED
    )


def _matrix(entries: Sequence[tuple[int, int, float]], rows: int, columns: int) -> coo_matrix:
    row, column, value = (np.array(part) for part in zip(*entries, strict=True))
    return coo_matrix((value, (row.astype(int), column.astype(int))), shape=(rows, columns))
