"""Runs that a worker took and that never began: no machine came, or the image cannot be pulled.

Such a run is marked as crashed after a while, by an automation on the server or by `reconcile`, and its job comes back
as its next attempt. Prefect lets a crashed run begin after all when its machine comes too late; whoever begins
therefore looks whether somebody still wants it, so that nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runtime import flow_run

from faceflow.errors import CancelledError
from faceflow.flows.run.queries import runs_in
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings

START_MARGIN = 4
"""A run that is not there after so many times the start of the slowest pool will not come."""


def start_limit(settings: Settings, pools: Pools) -> timedelta:
    """How long a run may take to begin after a worker took it."""
    return timedelta(seconds=max(settings.routing.start_s, START_MARGIN * max(pool.start_s for pool in pools.pools)))


async def never_begun(client: PrefectClient, flows: Sequence[str], limit: timedelta) -> list[FlowRun]:
    """Runs of these flows that a worker took longer ago than `limit` and that have not begun."""
    late = datetime.now(UTC) - limit
    found = []
    for run in await runs_in(client, flows, StateType.PENDING):
        # The state itself is renewed by whatever the machine says of its trouble.
        taken = taken_at(await client.read_flow_run_states(run.id))
        if taken is not None and taken <= late:
            found.append(run)
    return found


def taken_at(states: Sequence[State[Any]]) -> datetime | None:
    """When a worker took the run that waits to begin, from all states that it had; None where none has."""
    taken: datetime | None = None
    for state in sorted(states, key=lambda one: one.timestamp):
        taken = (taken or state.timestamp) if state.type is StateType.PENDING else None
    return taken


def was_given_up(states: Sequence[State[Any]]) -> bool:
    """Whether a run had ended before it began, and nobody has scheduled it again since."""
    given_up = False
    for state in sorted(states, key=lambda one: one.timestamp):
        if state.is_final():
            given_up = True
        elif state.type is StateType.SCHEDULED:
            given_up = False
    return given_up


async def require_wanted(run_id: UUID | None = None) -> None:
    """Called when a dispatched run begins.

    Args:
        run_id: which; by default the one that is running here.

    Raises:
        CancelledError: `fault.given_up`, where the run counted as lost before it began.
    """
    async with get_client() as client:
        if was_given_up(await client.read_flow_run_states(run_id or UUID(str(flow_run.id)))):
            raise CancelledError(
                "fault.given_up",
                "The dispatcher gave up on this run before it began, because it took too long to start.",
                "No action is needed: the dispatcher has started the job again. If machines start slowly, raise "
                "FACEFLOW_ROUTING__START_S.",
            )
