"""What the dispatcher works with, opened once a run: database, list of pools, rules in force, live signals, Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from prefect.client.orchestration import PrefectClient, get_client

from faceflow.infrastructure.books.budgets.limits import left_usd
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.corrections import corrections
from faceflow.infrastructure.books.records.decisions import arrived_reference_s
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.policy import Place, Policy, Rule
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools
from faceflow.infrastructure.routing.snapshot import MoneySignal, Snapshot
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.policy_files import read_text
from faceflow.infrastructure.sources.rules import current_policy
from faceflow.infrastructure.sources.signals import SignalBoard, signal_board

LOCAL_GPUS = 64
"""Of the one pool where no list is given: more than its work pool lets run at once, so that its limit counts."""


@dataclass(frozen=True, slots=True)
class Control:
    """The dispatcher's means."""

    settings: Settings
    database: Database
    budgets: Budgets
    pools: Pools
    board: SignalBoard
    client: PrefectClient

    async def policy(self) -> Policy:
        """The rules in force. Raises PolicyError, PolicySourceError where there never were any."""
        if self.settings.routing.rules is None:
            return policy_without_rules(self.pools)
        return (await current_policy(self.settings, self.pools)).policy

    async def snapshot(self, project: str, job_id: str) -> Snapshot:
        """The moment, as far as this job is concerned: what was approved for it counts as budget."""

        def booked() -> tuple[MoneySignal | None, dict[str, float]]:
            left = left_usd(self.database, project, now(), job_id)
            signal = None if left is None else MoneySignal(value=left, source="budgets")
            return signal, corrections(self.database)

        budget, known = await asyncio.to_thread(booked)
        return await self.board.snapshot(budget_left_usd=budget, corrections=known)


def now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


@asynccontextmanager
async def controlling(settings: Settings) -> AsyncIterator[Control]:
    """Opens everything while the block lasts.

    Raises:
        PolicyError: `policy.unreadable`, `policy.invalid`: the list of pools.
        DatabaseError, DatabaseSetupError: as `Database.open`.
    """
    pools = configured_pools(settings)
    database = await asyncio.to_thread(Database.open, settings)

    async def arrivals(window_s: float) -> float:
        since = now() - timedelta(seconds=window_s)
        return await asyncio.to_thread(arrived_reference_s, database, since)

    try:
        async with get_client() as client:
            board = signal_board(settings, pools, arrivals=arrivals)
            yield Control(settings, database, Budgets(database, settings.budgets), pools, board, client)
    finally:
        database.close()


def configured_pools(settings: Settings) -> Pools:
    """The list of pools that the settings name; without one, the pool of this machine alone."""
    path = settings.routing.pools
    if path is not None:
        return load_pools(read_text(path), str(path))
    own = Pool(
        name=settings.routing.default_pool or settings.pool.name,
        zone=settings.pool.zone,
        capacity=Capacity.OWNED,
        provider="local",
        gpu="cpu",
        gpus=LOCAL_GPUS,
        price_usd_per_gpu_hour=Decimal(0),
    )
    return Pools(pools=(own,))


def policy_without_rules(pools: Pools) -> Policy:
    """What holds where nobody gave rules: the first pool of the list that is free and that the media may enter."""
    names = tuple(pool.name for pool in pools.pools)
    why = "No rules are configured, so the job runs on the first free pool in the list that its media may enter."
    return Policy(version=1, rules=(Rule(name="no rules", why=why, place=Place(prefer=names, max_wait_s=60.0)),))
