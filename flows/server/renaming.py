"""What the server knows under a pool's former name: left alone until its runs have ended, then removed.

Prefect cannot rename a pool, and a run cannot be moved: its starter knows it by its id. So the new pool takes all that
is new, workers of the old one do what was begun, and when nothing is left of that the old pool goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.exceptions import ObjectNotFound

from faceflow.flows.server.difference import Action, Change
from faceflow.infrastructure.routing.pools import Pool

_OPEN = [kind for kind in StateType if kind not in TERMINAL_STATES]


async def retired(client: PrefectClient, pool: Pool) -> list[tuple[Change, Callable[[], Awaitable[None]]]]:
    """What is to be done about the pool's former names, and how."""
    found = []
    for former in pool.formerly:
        try:
            await client.read_work_pool(former)
        except ObjectNotFound:
            continue
        found.append(await _retired(client, pool.name, former))
    return found


async def _retired(client: PrefectClient, name: str, former: str) -> tuple[Change, Callable[[], Awaitable[None]]]:
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[former]))
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN))),
        work_pool_filter=of_pool,
        limit=200,
    )
    if runs:

        async def wait() -> None:
            """A later registration removes it."""

        many = "200 or more" if len(runs) == 200 else str(len(runs))
        reason = (
            f"now {name}; runs that have not ended: {many}; keep its workers until there are none, then register again"
        )
        return Change("work pool", former, Action.WAIT, reason), wait

    async def remove() -> None:
        for deployment in await client.read_deployments(work_pool_filter=of_pool, limit=200):
            await client.delete_deployment(deployment.id)
        await client.delete_work_pool(former)

    return Change(
        "work pool", former, Action.DELETE, f"now {name}; no runs are waiting or running there any more"
    ), remove
