"""Runs of deployments as the flows here use them: started once, looked at, cancelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Cancelling

from faceflow.job import SwapJob

HEARTBEAT = "prefect.flow-run.heartbeat"


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


async def artifact_value(client: PrefectClient, run_id: UUID, key: str) -> Any:
    """The data of the run's artifact `key`; None while there is none."""
    # `read_artifacts` of the 3.8 client sends nulls that the 3.8 server refuses.
    response = await client.request(
        "POST",
        "/artifacts/filter",
        json={
            "artifacts": {"flow_run_id": {"any_": [str(run_id)]}, "key": {"any_": [key]}},
            "sort": "CREATED_DESC",
            "limit": 1,
        },
    )
    found = response.json()
    return found[0]["data"] if found else None


async def artifact_rows(client: PrefectClient, run_id: UUID, key: str) -> dict[str, str]:
    """The rows of a table artifact with the columns `what` and `value`; empty while there is none."""
    table = await artifact_value(client, run_id, key)
    return {str(row["what"]): str(row["value"]) for row in json.loads(table)} if isinstance(table, str) else {}


async def runs_in(client: PrefectClient, flows: Sequence[str], *states: StateType) -> list[FlowRun]:
    """Runs of these flows that are in a state of one of these types."""
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        ),
    )


async def crashed_since(client: PrefectClient, flow: str, since: datetime) -> list[FlowRun]:
    """Runs of a flow that crashed, and that were to start after `since`."""
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
            expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"after_": since}),
        ),
    )


async def ended_badly_since(client: PrefectClient, flows: Sequence[str], since: datetime) -> bool:
    """Whether a run of these flows has crashed or failed after `since`."""
    found = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.FAILED])),
            end_time=FlowRunFilterEndTime.model_validate({"after_": since}),
        ),
        limit=1,
    )
    return bool(found)


async def silent_runs(client: PrefectClient, runs: Sequence[FlowRun], limit: timedelta) -> list[FlowRun]:
    """Those of `runs` that started longer than `limit` ago and whose heartbeat was not heard for that long."""
    since = datetime.now(UTC) - limit
    old = [run for run in runs if run.state is not None and run.state.timestamp < since]
    silent = []
    for run in old:
        response = await client.request(
            "POST",
            "/events/filter",
            json={
                "filter": {
                    "occurred": {"since": since.isoformat(), "until": datetime.now(UTC).isoformat()},
                    "event": {"name": [HEARTBEAT]},
                    "resource": {"id": [f"prefect.flow-run.{run.id}"]},
                },
                "limit": 1,
            },
        )
        if not response.json()["events"]:
            silent.append(run)
    return silent


def sent(job: SwapJob) -> dict[str, Any]:
    """A job as a parameter: only what differs from the defaults, so that workers of another version take it too."""
    return job.model_dump(mode="json", exclude_defaults=True)
