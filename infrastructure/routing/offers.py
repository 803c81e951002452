"""What every pool offers to one job: when it would start and end there, and what it would cost, as ranges.

    wait for a GPU   0 while one is free and nobody waits; else (queue + 1) x usual job / GPUs of the pool
    start            machine, image and models
    run              GPU-seconds on that pool's GPU, with what interruptions are expected to cost
    cost             price x run + egress of the result
    reserve          cost x headroom: what is taken from budgets before the run

Budgets are kept in every world that is possible: an offer that only may be within them is `affordable` None, and is
not taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from faceflow.infrastructure.routing.gpu_seconds import correction_range, reference_seconds, result_gigabytes, speed
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.readings import INFINITY, MoneyReading, Reading
from faceflow.infrastructure.routing.world import World

LOST_WORK_S = 30.0
"""Work that an interruption throws away, seconds: unfinished segments. An assumption, corrected like all run times."""
_UNLIMITED = Decimal("Infinity")
_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Offer:
    """One pool's offer for all of the job's remaining work."""

    pool: Pool
    wait: Reading
    start: Reading
    run: Reading
    cost: MoneyReading
    reserve: MoneyReading
    affordable: bool | None
    slack_s: float | None

    def finish(self, share: float = 1.0) -> Reading:
        """Seconds from now to the result."""
        return Reading(
            self.wait.least + self.start.least + self.run.least * share,
            self.wait.most + self.start.most + self.run.most * share,
        )

    def full(self, max_wait_s: float) -> bool | None:
        """Whether the job would wait longer for a GPU than the rule allows."""
        return self.wait.above(max_wait_s)

    def in_time(self) -> bool | None:
        """Whether the result is there by the deadline."""
        if self.slack_s is None:
            return True
        late = self.finish().above(self.slack_s)
        return None if late is None else not late


class Offers:
    """The offers of all pools for one job, made when somebody asks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._made: dict[str, Offer] = {}
        self._slack_s = world.slack_s()
        job = world.job
        left = (1.0, 1.0)
        if job.progress is not None:
            done = job.progress.done
            left = (1 - done, 1 - done)
            if not (math.isfinite(done) and 0 <= done <= 1):
                world.note(
                    "The reported progress of the job is implausible; the decision allows for every possible value."
                )
                left = (0.0, 1.0)
        seconds = reference_seconds(job)
        self._reference = Reading(0.0, INFINITY) if seconds is None else Reading(seconds * left[0], seconds * left[1])
        self._gigabytes = result_gigabytes(job)
        budget = world.budget_left()
        limit = _UNLIMITED if job.budget_usd is None else job.budget_usd * job.count
        self._limit = MoneyReading(min(limit, budget.least), min(limit, budget.most))

    def of(self, pool: Pool) -> Offer:
        """A pool's offer."""
        offer = self._made.get(pool.name)
        if offer is None:
            offer = self._made[pool.name] = self._make(pool)
        return offer

    def made(self, pool: Pool) -> Offer | None:
        """A pool's offer if somebody has asked for it before."""
        return self._made.get(pool.name)

    def affordable(self, reserves: Iterable[MoneyReading]) -> bool | None:
        """Whether these may be reserved together; None where it depends on what is not known."""
        least = most = Decimal(0)
        for reserve in reserves:
            least += reserve.least
            most += reserve.most
        # Where nothing limits, an unbounded cost is no breach of a budget.
        if self._limit.least == _UNLIMITED or most <= self._limit.least:
            return True
        return False if least > self._limit.most else None

    def _make(self, pool: Pool) -> Offer:
        world = self.world
        start = world.start_delay_s(pool)
        run = self._run(pool)
        cost = self._cost(pool, run)
        headroom = world.policy.settings.cost_headroom
        reserve = MoneyReading(cost.least * headroom, cost.most * headroom)
        affordable = self.affordable((reserve,))
        return Offer(pool, self._wait(pool), start, run, cost, reserve, affordable, self._slack_s)

    def _wait(self, pool: Pool) -> Reading:
        free, queued = self.world.free_gpus(pool), self.world.queue_depth(pool)
        if free.least >= 1 and queued.most <= 0:
            return Reading(0.0, 0.0)
        usual_s = self.world.policy.settings.mean_job_gpu_s / speed(self.world.job.engine, pool.gpu) / pool.gpus
        least = 0.0 if free.most >= 1 and queued.least <= 0 else (queued.least + (free.most < 1)) * usual_s
        return Reading(least, (queued.most + (free.least < 1)) * usual_s)

    def _run(self, pool: Pool) -> Reading:
        job = self.world.job
        if self._reference.most == INFINITY:
            self.world.note("The length of the clip is unknown, so neither its time nor its cost can be bounded.")
            return self._reference
        least = most = 1.0
        told = self.world.snapshot.corrections.get(f"{job.engine}/{pool.gpu}")
        if told is not None:
            least, most = correction_range(told)
            if least != most:
                self.world.note(
                    f"The correction for {job.engine} on {pool.gpu} is implausible ({told}); the decision allows "
                    "for every possible value."
                )
        lost = pool.interruptions_per_hour * (pool.start_s + LOST_WORK_S) / 3600
        factor = (1 + lost) / speed(job.engine, pool.gpu)
        return Reading(self._reference.least * least * factor, self._reference.most * most * factor)

    def _cost(self, pool: Pool, run: Reading) -> MoneyReading:
        price = self.world.price(pool)
        egress = Decimal(0)
        if pool.egress_usd_per_gb:
            if self._gigabytes is None:
                return MoneyReading(Decimal(0), _UNLIMITED)
            egress = pool.egress_usd_per_gb * Decimal(repr(self._gigabytes))
        if math.isinf(run.most):
            return MoneyReading(egress, _UNLIMITED if price.most else egress)
        least = (price.least * Decimal(repr(run.least / 3600)) + egress).quantize(_MICRO)
        if run.known and price.known:
            return MoneyReading(least, least)
        return MoneyReading(least, (price.most * Decimal(repr(run.most / 3600)) + egress).quantize(_MICRO))
