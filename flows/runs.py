"""Runs of deployments as the flows here use them: started once, looked at, cancelled."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Cancelling


def has_ended(run: FlowRun) -> bool:
    """Whether the run is in a final state."""
    return run.state is not None and run.state.is_final()


def has_completed(run: FlowRun) -> bool:
    """Whether the run ended well."""
    return run.state is not None and run.state.is_completed()


async def cancel_run(client: PrefectClient, run: FlowRun, reason: str) -> None:
    """Asks a run to end; one that no worker has taken yet ends at once. Ended ones are left as they are."""
    if has_ended(run) or run.state_type is StateType.CANCELLING:
        return
    waits = run.state_type is StateType.SCHEDULED
    state: State[Any] = Cancelled(message=reason) if waits else Cancelling(message=reason)
    await client.set_flow_run_state(run.id, state)


async def runs_with_keys(client: PrefectClient, keys: list[str]) -> list[FlowRun]:
    """The runs that were made with these idempotency keys."""
    if not keys:
        return []
    chosen = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=keys))
    return await client.read_flow_runs(flow_run_filter=chosen)


async def read_runs(client: PrefectClient, ids: list[UUID]) -> dict[UUID, FlowRun]:
    """Runs by id; those that were deleted are left out."""
    found: dict[UUID, FlowRun] = {}
    for first in range(0, len(ids), 200):
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=ids[first : first + 200]))
        runs: list[Any] = await client.read_flow_runs(flow_run_filter=chosen)
        found |= {run.id: run for run in runs}
    return found
