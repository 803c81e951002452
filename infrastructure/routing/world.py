"""What one call of `decide` knows: the job, the moment, and every reading, made once and only when somebody asks.

Notes collect what was read with care because its signal could not be used; they end up in the decision.
"""

from __future__ import annotations

from faceflow.infrastructure.routing.gpu_seconds import duration_of
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.readings import (
    INFINITY,
    MAX_BUDGET_USD,
    MAX_LOAD,
    MAX_QUEUE_DEPTH,
    MAX_START_DELAY_S,
    SPOT_PRICE_LIMITS,
    MoneyReading,
    Reading,
    exactly,
    fault,
    read,
    read_budget,
    read_price,
)
from faceflow.infrastructure.routing.snapshot import JobFacts, MoneySignal, PoolSignals, Signal, Snapshot
from faceflow.infrastructure.routing.wording import joined

_NO_SIGNALS = PoolSignals()
_DURATION, _HEIGHT, _FACES = ("job", "duration"), ("job", "height"), ("job", "faces")


class World:
    """Everything that conditions and placements ask about, for one decision."""

    def __init__(self, job: JobFacts, policy: Policy, snapshot: Snapshot, pools: Pools) -> None:
        self.job = job
        self.policy = policy
        self.snapshot = snapshot
        self.pools = pools
        self._notes: dict[str, None] = {}
        self._missing: dict[str, list[str]] = {}
        self._max_age_s = policy.settings.max_signal_age_s
        self._readings: dict[tuple[str, str], Reading] = {}
        self._prices: dict[str, MoneyReading] = {}
        self._budget: MoneyReading | None = None

    def note(self, text: str) -> None:
        """Keeps a sentence for the decision; the same one once only."""
        self._notes[text] = None

    def notes(self) -> tuple[str, ...]:
        """What was noted; signals that are not there share one sentence."""
        listed = [f"the {what}" + (f" of {joined(pools)}" if pools else "") for what, pools in self._missing.items()]
        if not listed:
            return tuple(self._notes)
        missing = f"Missing signals (the decision allows for every possible value): {'; '.join(listed)}."
        return (*self._notes, missing)

    def signals(self, pool: Pool) -> PoolSignals:
        """What was measured of a pool."""
        return self.snapshot.pools.get(pool.name, _NO_SIGNALS)

    def slack_s(self) -> float | None:
        """Seconds until the deadline, negative after it; None without one."""
        deadline = self.job.deadline
        return None if deadline is None else (deadline - self.snapshot.now).total_seconds()

    def duration_s(self) -> Reading:
        """Length of the clip."""
        reading = self._readings.get(_DURATION)
        return reading or self._fact(_DURATION, "length of the clip", duration_of(self.job))

    def height_px(self) -> Reading:
        """Height of the picture."""
        reading = self._readings.get(_HEIGHT)
        return reading or self._fact(_HEIGHT, "height of the picture", self.job.height)

    def faces(self) -> Reading:
        """Faces in a frame."""
        reading = self._readings.get(_FACES)
        return reading or self._fact(_FACES, "number of faces", self.job.faces)

    def peak_load(self) -> Reading:
        """Arriving work over what the owned GPUs can do."""
        return self._read("", "peak load", self.snapshot.peak_load, MAX_LOAD)

    def free_gpus(self, pool: Pool) -> Reading:
        """GPUs that could start a job now."""
        return self._read(pool.name, "number of free GPUs", self.signals(pool).free_gpus, pool.gpus)

    def queue_depth(self, pool: Pool) -> Reading:
        """Jobs that wait there."""
        return self._read(pool.name, "queue depth", self.signals(pool).queue_depth, MAX_QUEUE_DEPTH)

    def start_delay_s(self, pool: Pool) -> Reading:
        """Seconds from placing to the first frame when a GPU is free."""
        signal = self.signals(pool).start_delay_s
        if signal is None:
            return exactly(pool.start_s)
        return self._read(pool.name, "start delay", signal, MAX_START_DELAY_S)

    def price(self, pool: Pool) -> MoneyReading:
        """US dollars a GPU-hour."""
        reading = self._prices.get(pool.name)
        if reading is None:
            signal = self.signals(pool).spot_price_usd
            reading = self._prices[pool.name] = read_price(pool, signal, self._max_age_s)
            if pool.capacity is Capacity.SPOT:
                least, most = (limit * pool.price_usd_per_gpu_hour for limit in SPOT_PRICE_LIMITS)
                self._say(pool.name, "spot price", signal, fault(signal, least, most, self._max_age_s))
        return reading

    def budget_left(self) -> MoneyReading:
        """What the project may still spend."""
        if self._budget is None:
            signal = self.snapshot.budget_left_usd
            self._budget = read_budget(signal, self._max_age_s)
            if signal is not None:
                why = fault(signal, -MAX_BUDGET_USD, MAX_BUDGET_USD, self._max_age_s)
                self._say("", "remaining budget", signal, why)
        return self._budget

    def _fact(self, key: tuple[str, str], what: str, value: float | None) -> Reading:
        if value is None:
            self.note(f"The {what} is unknown; the decision is the same for every value.")
        reading = self._readings[key] = Reading(0.0, INFINITY) if value is None else exactly(value)
        return reading

    def _read(self, where: str, what: str, signal: Signal, most: float) -> Reading:
        reading = self._readings.get((where, what))
        if reading is None:
            reading = self._readings[where, what] = read(signal, most, self._max_age_s)
            self._say(where, what, signal, fault(signal, 0.0, most, self._max_age_s))
        return reading

    def _say(self, where: str, what: str, signal: Signal | MoneySignal, why: str | None) -> None:
        if why is None:
            return
        if signal.value is None:
            self._missing.setdefault(what, []).extend([where] if where else [])
            return
        of = f" of {where}" if where else ""
        told = f" ({signal.value!s}, from {signal.source})"
        self.note(f"The {what}{of} is {why}{told}; the decision allows for every possible value.")
