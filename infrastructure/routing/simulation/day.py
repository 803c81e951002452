"""One simulated day: every unit is decided by the real `decide` when it arrives, with the signals of that moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np
import simpy
from numpy.typing import NDArray

from faceflow.infrastructure.routing.comparing import Record
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.decision import Action, Decision, Way
from faceflow.infrastructure.routing.gpu_seconds import result_gigabytes, speed
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.simulation.arrivals import Unit, jobs_in
from faceflow.infrastructure.routing.simulation.machines import Happening, Machines, Race, Task
from faceflow.infrastructure.routing.simulation.prices import Prices
from faceflow.infrastructure.routing.simulation.scenario import Scenario
from faceflow.infrastructure.routing.snapshot import JobFacts, JobProgress, MoneySignal, PoolSignals, Signal, Snapshot
from faceflow.job import Priority

_URGENCY = {Priority.URGENT: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
_LOAD_WINDOW_S = 3600.0
_LONGEST_HOLD_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Day:
    """What came of a day. Arrays have one entry a job, in the order of the jobs' numbers; times are seconds since the
    beginning, NaN where it never came to that."""

    scenario: Scenario
    policy: Policy
    pools: Pools
    machines: dict[str, Machines]
    kind: NDArray[np.int64]
    arrived: NDArray[np.float64]
    begun: NDArray[np.float64]
    finished: NDArray[np.float64]
    deadline: NDArray[np.float64]
    """Infinite where there is none."""
    ended: float
    decisions: dict[str, int]
    """How many decisions ended in each action."""
    records: list[Record] = field(default_factory=list)


def simulate(scenario: Scenario, units: Sequence[Unit], policy: Policy, pools: Pools, *, keep_records: int = 0) -> Day:
    """Runs the day. The same input gives the same day.

    Args:
        scenario: length, prices and seed.
        units: what arrives, by time (`generate` or `read_trace`).
        policy: the rules that decide.
        pools: where work can run.
        keep_records: how many decisions to keep with their snapshots, spread evenly over the units.
    """
    return _Simulation(scenario, units, policy, pools, keep_records).run()


class _Simulation:
    def __init__(
        self, scenario: Scenario, units: Sequence[Unit], policy: Policy, pools: Pools, keep_records: int
    ) -> None:
        self.scenario, self.units, self.policy, self.pools = scenario, units, policy, pools
        self.clock = simpy.Environment()
        count = jobs_in(units)
        self.begun, self.finished = np.full(count, np.nan), np.full(count, np.nan)
        self.machines = {
            pool.name: Machines(
                self.clock,
                pool,
                Prices(pool, scenario, number),
                scenario.idle_release_s,
                (scenario.seed, 2000 + number),
                self._finished,
                self._lost,
            )
            for number, pool in enumerate(pools.pools)
        }
        self.owned_speed = sum(
            pool.gpus * speed("onnx", pool.gpu) for pool in pools.pools if pool.capacity is Capacity.OWNED
        )
        self.recent: deque[tuple[float, float]] = deque()
        self.recent_s = 0.0
        self.decisions: dict[str, int] = {action.value: 0 for action in Action}
        self.records: list[Record] = []
        self.every = len(units) // keep_records + 1 if keep_records else 0

    def run(self) -> Day:
        self.clock.process(self._arrive())
        end = (self.scenario.hours + self.scenario.drain_hours) * 3600
        self.clock.run(until=end)
        last = float(np.nanmax(self.finished, initial=0.0))
        ended = max(self.scenario.hours * 3600, min(end, last))
        for machines in self.machines.values():
            machines.close(end)
        count = len(self.begun)
        kind, arrived, deadline = np.zeros(count, np.int64), np.zeros(count), np.full(count, np.inf)
        for unit in self.units:
            numbers = slice(unit.first, unit.first + len(unit.arrivals))
            kind[numbers], arrived[numbers] = unit.kind, unit.arrivals
            if unit.deadline_s is not None:
                deadline[numbers] = unit.arrivals + unit.deadline_s
        return Day(
            self.scenario, self.policy, self.pools, self.machines, kind, arrived, self.begun, self.finished, deadline,
            ended, self.decisions, self.records,
        )  # fmt: skip

    def _arrive(self) -> Happening:
        for number, unit in enumerate(self.units):
            if unit.decided_at > self.clock.now:
                yield self.clock.timeout(unit.decided_at - self.clock.now)
            self.recent.append((self.clock.now, unit.reference_s * len(unit.arrivals)))
            self.recent_s += self.recent[-1][1]
            self._dispatch(Task(unit, 0, len(unit.arrivals)), keep=bool(self.every) and number % self.every == 0)

    def _hold(self, task: Task, tries: int) -> Happening:
        """Decides a held task again, after ever longer times."""
        yield self.clock.timeout(min(self.scenario.retry_held_s * 2**tries, _LONGEST_HOLD_S))
        self._dispatch(task, tries=tries + 1)

    def _dispatch(self, task: Task, *, tries: int = 0, keep: bool = False) -> None:
        facts, snapshot = self._facts(task), self._snapshot()
        decision = decide(facts, self.policy, snapshot, self.pools)
        self.decisions[decision.action] += 1
        if keep:
            self.records.append(Record(job=facts, snapshot=snapshot, decision=decision))
        if decision.action is Action.HOLD:
            self.clock.process(self._hold(task, tries))
        urgency = _URGENCY[facts.priority]
        for name, part in self._parts(task, decision):
            self.machines[name].take(part, urgency)

    def _parts(self, task: Task, decision: Decision) -> list[tuple[str, Task]]:
        """The task as its placements get it: whole, raced or split."""
        placed = decision.placements
        if decision.way is Way.SPLIT:
            borders = np.cumsum([0.0, *(placement.share for placement in placed)])
            cuts = task.begin + np.round(borders / borders[-1] * (task.end - task.begin)).astype(int)
            return [
                (
                    placement.pool,
                    Task(task.unit, int(cuts[index]), int(cuts[index + 1]), task.attempt, int(cuts[index])),
                )
                for index, placement in enumerate(placed)
                if cuts[index + 1] > cuts[index]
            ]
        race = Race(self.clock.event(), len(placed)) if decision.way is Way.RACE else None
        return [(placement.pool, replace(task, race=race)) for placement in placed]

    def _facts(self, task: Task) -> JobFacts:
        unit = task.unit
        changed: dict[str, object] = {"count": task.end - task.first, "attempt": task.attempt}
        if unit.deadline_s is not None:
            due = float(unit.arrivals[task.begin]) + unit.deadline_s
            changed["deadline"] = self.scenario.begin + timedelta(seconds=due)
        if task.attempt > 1:
            started = self.scenario.begin + timedelta(seconds=unit.decided_at)
            done = (task.begin - task.first) / (task.end - task.first)
            changed["progress"] = JobProgress(done=done, started_at=started)
        return unit.facts.model_copy(update=changed)

    def _snapshot(self) -> Snapshot:
        now = self.clock.now
        while self.recent and self.recent[0][0] < now - _LOAD_WINDOW_S:
            self.recent_s -= self.recent.popleft()[1]
        load = self.recent_s / _LOAD_WINDOW_S / self.owned_speed if self.owned_speed else 0.0
        return Snapshot(
            now=self.scenario.begin + timedelta(seconds=now),
            pools={
                name: _signals(machines.free, machines.waiting_jobs, machines.prices.at(now), machines.start_delay_s)
                for name, machines in self.machines.items()
            },
            peak_load=_signal(max(0.0, load)),
            budget_left_usd=None,
            corrections={},
        )

    def _finished(self, pool: Pool, task: Task, done: int, begun: float, each_s: float) -> None:
        first = task.unit.first + task.begin
        order = np.arange(done)
        numbers = slice(first, first + done)
        # In a race the first good result counts.
        self.begun[numbers] = np.fmin(self.begun[numbers], begun + each_s * order)
        self.finished[numbers] = np.fmin(self.finished[numbers], begun + each_s * (order + 1))
        gigabytes = result_gigabytes(task.unit.facts.model_copy(update={"count": done}))
        self.machines[pool.name].ledger.gigabytes += gigabytes or 0.0

    def _lost(self, task: Task, first_lost: int) -> None:
        if task.race is not None:
            task.race.left -= 1
            if task.race.left or task.race.won.triggered:
                return  # a rival goes on
        self._dispatch(Task(task.unit, first_lost, task.end, task.attempt + 1, task.first))


@lru_cache(maxsize=100_000)
def _signals(free_gpus: int, queue_depth: int, price_usd: Decimal, start_delay_s: float) -> PoolSignals:
    """Models are immutable, so equal signals can be one object: making them was the dearest part of a day."""
    return PoolSignals(
        free_gpus=_signal(free_gpus),
        queue_depth=_signal(queue_depth),
        spot_price_usd=MoneySignal(value=price_usd, age_s=0.0, source="simulation"),
        start_delay_s=_signal(start_delay_s),
    )


def _signal(value: float) -> Signal:
    return Signal(value=float(value), age_s=0.0, source="simulation")
