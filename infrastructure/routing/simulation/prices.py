"""Spot prices over the day: a mean that swings slowly, never above the list price."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from faceflow.infrastructure.routing.pools import Capacity, Pool
from faceflow.infrastructure.routing.simulation.scenario import Scenario

STEP_S = 600.0
"""Prices change every ten minutes."""
USUAL_SHARE = 0.4
"""Mean spot price over list price where the scenario says nothing. An assumption."""
_MEMORY = 0.97
"""Share of a swing that is left after one step: half of it is gone after about four hours."""


class Prices:
    """US dollars a GPU-hour of one pool at any moment."""

    def __init__(self, pool: Pool, scenario: Scenario, number: int) -> None:
        length_s = (scenario.hours + scenario.drain_hours) * 3600
        steps = int(length_s / STEP_S) + 2
        listed = float(pool.price_usd_per_gpu_hour)
        self._series: NDArray[np.float64] = np.full(steps, listed)
        if pool.capacity is Capacity.SPOT:
            generator = np.random.default_rng([scenario.seed, 1000 + number])
            share = scenario.spot_price_share.get(pool.name, USUAL_SHARE)
            swing = np.zeros(steps)
            shocks = generator.normal(0.0, scenario.spot_price_swing * np.sqrt(1 - _MEMORY**2), steps)
            for step in range(1, steps):
                swing[step] = _MEMORY * swing[step - 1] + shocks[step]
            self._series = np.clip(listed * share * np.exp(swing), 0.02 * listed, listed)
        self._paid = np.concatenate([[0.0], np.cumsum(self._series)]) * STEP_S / 3600

    def at(self, moment_s: float) -> Decimal:
        """The price at a moment, to a hundredth of a cent."""
        return Decimal(f"{self._series[min(int(moment_s / STEP_S), len(self._series) - 1)]:.4f}")

    def lowest(self, begin_s: float, end_s: float) -> float:
        """The lowest price between two moments."""
        first = min(int(begin_s / STEP_S), len(self._series) - 1)
        return float(self._series[first : max(first + 1, int(np.ceil(end_s / STEP_S)))].min())

    def paid(self, begin_s: float, end_s: float) -> float:
        """What one GPU costs from one moment to another, US dollars."""
        moments = np.arange(len(self._paid)) * STEP_S
        return float(np.interp(end_s, moments, self._paid) - np.interp(begin_s, moments, self._paid))
