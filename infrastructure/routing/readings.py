"""From signals as they came to readings that can be computed with.

A reading is a range. A good signal is a range of one point; a signal that is missing, too old, not a number or outside
what can be is the whole range of what can be. Everything that is computed from readings is a range too, and every
question asked of them has three answers: yes, no, and "cannot be told" (None). So nothing is ever guessed, and
`decide` can look at all that may be true and take the most careful way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from faceflow.infrastructure.routing.pools import Capacity, Pool
from faceflow.infrastructure.routing.snapshot import MoneySignal, Signal

INFINITY = math.inf
MAX_QUEUE_DEPTH = 10_000_000.0
MAX_START_DELAY_S = 86_400.0
MAX_LOAD = 100_000.0
MAX_BUDGET_USD = Decimal(10) ** 9
SPOT_PRICE_LIMITS = (Decimal("0.01"), Decimal(10))
"""Spot prices outside these multiples of the on-demand list price come from a fault (another currency)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number that lies between `least` and `most`, both included."""

    least: float
    most: float

    @property
    def known(self) -> bool:
        """Whether it is one number."""
        return self.least == self.most

    def below(self, limit: float) -> bool | None:
        """Whether it is below `limit`; None where that cannot be told."""
        if self.most < limit:
            return True
        return False if self.least >= limit else None

    def above(self, limit: float) -> bool | None:
        """Whether it is above `limit`; None where that cannot be told."""
        if self.least > limit:
            return True
        return False if self.most <= limit else None


@dataclass(frozen=True, slots=True)
class MoneyReading:
    """An amount in US dollars between `least` and `most`, both included; `most` may be infinite."""

    least: Decimal
    most: Decimal

    @property
    def known(self) -> bool:
        """Whether it is one amount."""
        return self.least == self.most

    def as_numbers(self) -> Reading:
        """The same for conditions, which compare numbers."""
        return Reading(float(self.least), float(self.most))


def exactly(value: float) -> Reading:
    """A number that is known."""
    return Reading(value, value)


def negate(answer: bool | None) -> bool | None:
    """Not, for three answers."""
    return None if answer is None else not answer


def both(first: bool | None, second: bool | None) -> bool | None:
    """And, for three answers."""
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def fault(signal: Signal | MoneySignal, least: float | Decimal, most: float | Decimal, max_age_s: float) -> str | None:
    """Why a signal cannot be used: `missing`, `too old`, `absurd`; None where it can."""
    value = signal.value
    if value is None:
        return "missing"
    if not math.isfinite(signal.age_s) or signal.age_s < 0:
        return "of unknown age"
    if signal.age_s > max_age_s:
        return "too old"
    finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    return None if finite and least <= value <= most else "absurd"


def read(signal: Signal, most: float, max_age_s: float) -> Reading:
    """A count or a time between 0 and `most`."""
    if fault(signal, 0.0, most, max_age_s) is None and signal.value is not None:
        return exactly(signal.value)
    return Reading(0.0, most)


def read_price(pool: Pool, signal: MoneySignal, max_age_s: float) -> MoneyReading:
    """US dollars a GPU-hour. While a spot price is not known, the list price is the most that it can be."""
    listed = pool.price_usd_per_gpu_hour
    if pool.capacity is not Capacity.SPOT:
        return MoneyReading(listed, listed)
    least, most = (limit * listed for limit in SPOT_PRICE_LIMITS)
    if fault(signal, least, most, max_age_s) is None and signal.value is not None:
        return MoneyReading(signal.value, signal.value)
    return MoneyReading(least, listed)


def read_budget(signal: MoneySignal | None, max_age_s: float) -> MoneyReading:
    """What may be spent. An overdrawn budget is an empty one; None is no budget, so no limit."""
    if signal is None:
        return MoneyReading(Decimal("Infinity"), Decimal("Infinity"))
    if fault(signal, -MAX_BUDGET_USD, MAX_BUDGET_USD, max_age_s) is None and signal.value is not None:
        left = max(signal.value, Decimal(0))
        return MoneyReading(left, left)
    return MoneyReading(Decimal(0), MAX_BUDGET_USD)
