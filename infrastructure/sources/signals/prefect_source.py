"""What Prefect knows of the work pools: whether they take jobs, how many wait, how many more may start.

A pool of the list is the work pool with the same name. It is paused where it is paused, where no worker is online
(Prefect: not ready), and where there is no such work pool: a job that is sent there would wait forever.

The jobs that wait are the flow runs whose time has come and which no worker has started. What may start is what the
smaller of the pool's `gpus` and the work pool's concurrency limit leaves: one run works on one GPU. Prometheus knows
better where others use the same machines; it stands before this source.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkPoolStatus
from prefect.settings import PREFECT_API_URL

from faceflow.infrastructure.routing.pools import Pool, Pools
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import WorkPool


@dataclass(frozen=True)
class PrefectSource:
    """The Prefect server that `PREFECT_API_URL` names.

    Attributes:
        ttl_s: see `SignalSource`.
        api_url: for the cache: readings of one server are not those of another.
    """

    ttl_s: float = 3.0
    name: str = "prefect"
    api_url: str = field(default_factory=lambda: PREFECT_API_URL.value() or "")

    async def gather(self, pools: Pools) -> list[Reading]:
        """See `SignalSource`."""
        if not self.api_url:
            raise SignalError("no Prefect server is configured (PREFECT_API_URL)")
        try:
            async with get_client() as client:
                return await self._ask(client, pools)
        except httpx.TimeoutException:
            raise SignalError("the Prefect server does not respond in time") from None
        except httpx.HTTPStatusError as error:
            raise SignalError(f"the Prefect server refuses the request (HTTP {error.response.status_code})") from None
        except httpx.TransportError as error:
            raise SignalError(f"the Prefect server cannot be reached ({type(error).__name__})") from None

    async def _ask(self, client: PrefectClient, pools: Pools) -> list[Reading]:
        now = datetime.now(UTC)
        names = [pool.name for pool in pools.pools]
        found = {
            pool.name: pool
            for start in range(0, len(names), 200)
            for pool in await client.read_work_pools(
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=names[start : start + 200]))
            )
        }
        there = [name for name in names if name in found]
        waiting = dict(zip(there, await asyncio.gather(*(_waiting(client, name, now) for name in there)), strict=True))
        readings = []
        for pool in pools.pools:
            readings += self._of(pool, found.get(pool.name), waiting.get(pool.name), now)
        return readings

    def _of(self, pool: Pool, there: WorkPool | None, waiting: int | None, now: datetime) -> list[Reading]:
        note = _why_paused(there)
        figures = {Figure.PAUSED: 1 if note else 0}
        if there is not None and waiting is not None:
            most = pool.gpus if there.concurrency_limit is None else min(pool.gpus, there.concurrency_limit)
            figures[Figure.QUEUE_DEPTH] = waiting
            figures[Figure.FREE_GPUS] = max(most - (there.active_slots or 0), 0)
        return [
            Reading(
                figure=figure,
                pool=pool.name,
                value=Decimal(value),
                measured_at=now,
                source=self.name,
                note=note if figure is Figure.PAUSED else "",
            )
            for figure, value in figures.items()
        ]


def _why_paused(pool: WorkPool | None) -> str:
    if pool is None:
        return "there is no such work pool"
    if pool.is_paused or pool.status is WorkPoolStatus.PAUSED:
        return "it is paused"
    return "no worker is online" if pool.status is WorkPoolStatus.NOT_READY else ""


async def _waiting(client: PrefectClient, name: str, now: datetime) -> int:
    """Flow runs of the work pool whose time has come and which nobody has started."""
    due = FlowRunFilterNextScheduledStartTime.model_validate({"before_": now + timedelta(seconds=1)})
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    return await client.count_flow_runs(
        flow_run_filter=FlowRunFilter(state=state, next_scheduled_start_time=due),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[name])),
    )
