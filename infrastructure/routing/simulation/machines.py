"""The GPUs of one pool in the simulation: they start, take work in the order of priority, are taken away, and stop.

Owned machines are always there. Rented ones are started while work waits, cost money from then on, and are given back
when they had nothing to do for a while. A spot machine lives for an exponential time; when it is taken away, the jobs
of a micro-batch that it had finished are finished, and the rest comes back to be decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from faceflow.infrastructure.routing.gpu_seconds import speed
from faceflow.infrastructure.routing.pools import Capacity, Pool
from faceflow.infrastructure.routing.simulation.arrivals import Unit
from faceflow.infrastructure.routing.simulation.prices import Prices

Happening = Generator[simpy.Event, Any, None]


@dataclass(slots=True)
class Race:
    """What the rivals for one task share."""

    won: simpy.Event
    left: int
    """How many still run or wait."""


@dataclass(slots=True)
class Task:
    """Jobs of a unit that were sent to a pool: those from `begin` to `end` (not included) are still to be done."""

    unit: Unit
    begin: int
    end: int
    attempt: int = 1
    first: int = 0
    """Where the part that was sent out first begins: what lies between it and `begin` is done."""
    race: Race | None = None


@dataclass(slots=True)
class Ledger:
    """What a pool did and cost."""

    busy: list[tuple[float, float]] = field(default_factory=list)
    rented_s: float = 0.0
    rented_usd: float = 0.0
    gigabytes: float = 0.0
    jobs: int = 0
    interruptions: int = 0


class _LastFirst(list[Any]):
    def append(self, getter: Any) -> None:
        self.insert(0, getter)


class _WorkQueue(simpy.PriorityStore):
    """Work goes to the machine that has idled shortest, so that the others can be given back: bin packing, as clouds
    offer it for placement. Served in turn, machines would keep one another from ever being idle for long."""

    GetQueue = _LastFirst


class Machines:
    """All machines of one pool."""

    def __init__(
        self,
        environment: simpy.Environment,
        pool: Pool,
        prices: Prices,
        idle_release_s: float,
        seed: tuple[int, int],
        finished: Callable[[Pool, Task, int, float, float], None],
        lost: Callable[[Task, int], None],
    ) -> None:
        self.pool = pool
        self.prices = prices
        self.ledger = Ledger()
        self.waiting_jobs = 0
        self._environment = environment
        self._idle_release_s = idle_release_s
        self._generator = np.random.default_rng(list(seed))
        self._finished = finished
        self._lost = lost
        self._queue = _WorkQueue(environment)
        self._number = 0
        self._running = self._starting = self._idle = 0
        self._begun: dict[int, float] = {}
        if pool.capacity is Capacity.OWNED:
            for _ in range(pool.gpus):
                self._start()

    @property
    def free(self) -> int:
        """GPUs that could take one more task now; rented ones that could be started are among them."""
        spare = 0 if self.pool.capacity is Capacity.OWNED else self.pool.gpus - self._running
        return max(0, self._idle + self._starting + spare - len(self._queue.items))

    @property
    def start_delay_s(self) -> float:
        """Seconds until a free GPU would begin."""
        warm = self._idle > len(self._queue.items) or self.pool.capacity is Capacity.OWNED
        return 0.0 if warm else self.pool.start_s

    def take(self, task: Task, urgency: int) -> None:
        """Puts a task into the queue; a smaller urgency goes first."""
        self._number += 1
        self._queue.put(simpy.PriorityItem((urgency, self._number), task))
        self.waiting_jobs += task.end - task.begin
        self._start_more(len(self._queue.items))

    def close(self, end_s: float) -> None:
        """Counts the machines that still run when the day is over."""
        for begun in self._begun.values():
            self._pay(begun, end_s)
        self._begun.clear()

    def _start_more(self, waiting: int) -> None:
        if self.pool.capacity is Capacity.OWNED:
            return
        while waiting > self._idle + self._starting and self._running < self.pool.gpus:
            self._start()

    def _start(self) -> None:
        self._running += 1
        self._starting += 1
        self._environment.process(self._live())

    def _pay(self, begun: float, ended: float) -> None:
        if self.pool.capacity is not Capacity.OWNED:
            self.ledger.rented_s += ended - begun
            self.ledger.rented_usd += self.prices.paid(begun, ended)

    def _live(self) -> Happening:
        clock = self._environment
        number = self._number = self._number + 1
        self._begun[number] = clock.now
        owned = self.pool.capacity is Capacity.OWNED
        if not owned:
            yield clock.timeout(self.pool.start_s)
        self._starting -= 1
        rate = self.pool.interruptions_per_hour
        dies_at = clock.now + (self._generator.exponential(3600 / rate) if rate else np.inf)
        while clock.now < dies_at:
            self._idle += 1
            wanted = self._queue.get()
            if owned:
                yield wanted
            else:
                yield wanted | clock.timeout(min(self._idle_release_s, dies_at - clock.now))
            self._idle -= 1
            if not wanted.triggered:
                wanted.cancel()
                break
            item: Any = wanted.value
            task: Task = item.item
            self.waiting_jobs -= task.end - task.begin
            yield from self._work(task, dies_at)
        self._pay(self._begun.pop(number), clock.now)
        self._running -= 1
        self._start_more(len(self._queue.items))

    def _work(self, task: Task, dies_at: float) -> Happening:
        if task.race is not None and task.race.won.triggered:
            return
        clock = self._environment
        begun = clock.now
        each_s = task.unit.reference_s / speed(task.unit.facts.engine, self.pool.gpu)
        ends = begun + each_s * (task.end - task.begin)
        until = clock.timeout(min(ends, dies_at) - begun)
        yield until if task.race is None else until | task.race.won
        self.ledger.busy.append((begun, clock.now))
        if task.race is not None and task.race.won.triggered:
            return
        done = task.end - task.begin
        if ends > dies_at:
            self.ledger.interruptions += 1
            done = int((clock.now - begun) / each_s)
        if done:
            self.ledger.jobs += done
            self._finished(self.pool, task, done, begun, each_s)
        if done < task.end - task.begin:
            self._lost(task, task.begin + done)
        elif task.race is not None and not task.race.won.triggered:
            task.race.won.succeed()
