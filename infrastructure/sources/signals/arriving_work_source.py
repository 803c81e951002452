"""Peak load: the work that arrived lately, over what the owned GPUs can do in the same time. 1 fills them exactly.

The store of decisions knows what arrived: the GPU-seconds, on the reference GPU, of all jobs of the last minutes,
whatever became of them and wherever they were sent. So the load does not fall when work is sent away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from faceflow.infrastructure.routing.gpu_seconds import speed
from faceflow.infrastructure.routing.pools import Capacity, Pools
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError

ENGINE = "onnx"
"""The engine by whose speed GPUs are compared: the published networks, which GPUs are bought for."""

Arrivals = Callable[[float], Awaitable[float]]
"""GPU-seconds on the reference GPU of the jobs that arrived in the last so many seconds."""


@dataclass(frozen=True)
class ArrivingWorkSource:
    """Arrived GPU-seconds over owned ones.

    Attributes:
        arrivals: who knows what arrived.
        window_s: over how long it is counted, seconds. Long enough that one large job is no peak.
        ttl_s: see `SignalSource`.
    """

    arrivals: Arrivals = field(repr=False)
    window_s: float = 600.0
    ttl_s: float = 10.0
    name: str = "arriving-work"

    async def gather(self, pools: Pools) -> list[Reading]:
        """See `SignalSource`. Without owned GPUs there is no reading: nothing can be over nothing."""
        owned = sum(pool.gpus * speed(ENGINE, pool.gpu) for pool in pools.pools if pool.capacity is Capacity.OWNED)
        if not owned:
            return []
        now = datetime.now(UTC)
        arrived_s = await self.arrivals(self.window_s)
        if arrived_s < 0:
            raise SignalError("the count of arrivals is negative")
        return [
            Reading(
                figure=Figure.PEAK_LOAD,
                value=Decimal(repr(arrived_s / (owned * self.window_s))),
                measured_at=now,
                source=f"{self.name} of {self.window_s:g} s",
            )
        ]
