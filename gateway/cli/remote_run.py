"""`faceflow swap --remote`: starts the job's deployment on a server and follows it to its end.

The job runs in a worker; this process only looks. Ending it with Ctrl-C leaves the job running.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx

from faceflow.errors import FaceflowError, FaultError, InputError, no_longer_followed
from faceflow.gateway.cli.screen import console, progress_bar
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.inherited import named_server
from faceflow.infrastructure.machine.server.lease import is_up, lease_server, running_server
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.settings import Settings
from faceflow.job import SwapJob
from faceflow.locations import in_store
from faceflow.log import events
from faceflow.stages.preflight import inputs_of, preflight

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from faceflow.infrastructure.machine.ledger import JobRecord

FOLLOW_S = 0.5
SILENCE_S = 60.0
"""How long the server may be silent before the run is given up as unreachable."""


def run_remote(job: SwapJob, pool: str, settings: Settings) -> JobRecord:
    """Runs the job on `swap-video/<pool>` and gives what it produced.

    Raises:
        ServerError: `server.not_running`, `server.deployment_missing`, `server.worker_missing`, `server.unreachable`.
        FaceflowError: what the job itself failed with.
    """
    if not any(map(in_store, inputs_of(job))):  # what lies in a store is looked at where the job runs, not here
        preflight(job, settings)
    require_server(settings, "--remote")
    with lease_server(settings) as address:
        point_prefect_at(settings.paths.state, address.api_url)
        # Of our own server's worker we know whether it is there; a company's workers may come later.
        working = (lambda: is_up(settings)) if address.owned and pool == settings.pool.name else lambda: True
        try:
            return asyncio.run(_start_and_follow(job, pool, working))
        except KeyboardInterrupt:
            raise no_longer_followed() from None


def require_server(settings: Settings, option: str) -> None:
    """Raises `server.not_running` where no server is there for `option` and none is named."""
    if running_server(settings) is None and named_server(os.environ) is None:
        raise ServerError(
            "server.not_running",
            f"No Prefect server is running for {option}.",
            "Start one with `faceflow up`, or set PREFECT_API_URL to your server.",
        )


async def _start_and_follow(job: SwapJob, pool: str, working: Callable[[], bool]) -> JobRecord:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        name = f"swap-video/{pool}"
        try:
            deployment = await client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise ServerError(
                "server.deployment_missing",
                f"The server has no deployment {name!r}.",
                "Start the pool's worker with `faceflow up`, or choose another pool with --pool.",
            ) from error
        if not working():
            raise worker_missing(pool)
        run = await client.create_flow_run_from_deployment(
            deployment.id, parameters={"job": job.model_dump(mode="json")}
        )
        console().print(f"run {run.name}  [dim]{run.id}[/]")
        final = await _follow(client, run.id, pool, working)
        return await result_of(client, final)


async def _follow(client: PrefectClient, run_id: UUID, pool: str, working: Callable[[], bool]) -> FlowRun:
    """Looks until the run has ended, its worker is gone, or the server is silent for too long."""
    from faceflow.flows.run.artifacts import PROGRESS_KEY
    from faceflow.flows.run.progress import Snapshot
    from faceflow.flows.run.queries import artifact_value

    heard = time.monotonic()
    said: tuple[str, float] | None = None
    with progress_bar() as move:
        while time.monotonic() - heard < SILENCE_S:
            orphaned = not working()
            try:
                run = await client.read_flow_run(run_id)
                percent = float(await artifact_value(client, run_id, PROGRESS_KEY) or 0.0)
            except httpx.TransportError:
                await asyncio.sleep(FOLLOW_S)
                continue
            heard = time.monotonic()
            state = str(run.state.name).lower() if run.state is not None else "waiting"
            if said != (state, percent):
                said = (state, percent)
                events().info("run.followed", flow_run_id=str(run_id), state=state, percent=percent)
            if run.state is not None and run.state.is_final():
                return run
            if orphaned:
                raise worker_missing(pool)
            move(Snapshot(state, percent / 100, 0, 0.0, None, None))
            await asyncio.sleep(FOLLOW_S)
    raise ServerError(
        "server.unreachable",
        f"The Prefect server has not answered for {SILENCE_S:.0f} s while this command was following run {run_id}.",
        "Run the same command again when the server is back: it follows the job again, or shows the finished result.",
        flow_run_id=str(run_id),
    )


def worker_missing(pool: str) -> ServerError:
    """The error if no worker serves a pool of this machine."""
    return ServerError(
        "server.worker_missing",
        f"No worker of pool {pool!r} is running here.",
        "Start one with `faceflow up`, then run the same command again.",
    )


async def result_of(client: PrefectClient, run: FlowRun) -> JobRecord:
    """What a run that has ended gave, or the error that it left."""
    from faceflow.flows.run.artifacts import FAILURE_KEY, RESULT_KEY
    from faceflow.flows.run.queries import artifact_rows
    from faceflow.infrastructure.machine.ledger import JobRecord

    rows = await artifact_rows(client, run.id, RESULT_KEY)
    if run.state is not None and run.state.is_completed() and "record" in rows:
        return JobRecord.model_validate_json(rows["record"])
    failure = await artifact_rows(client, run.id, FAILURE_KEY)
    if "code" in failure:
        kind: type[FaceflowError] = InputError if failure.get("exit_code") == "2" else FaultError
        raise kind(failure["code"], failure["message"], failure["resolution"])
    state = run.state.name if run.state is not None else "unknown"
    raise FaultError(
        "fault.run_lost",
        f"The run ended as {state} without a result.",
        "Run the same command again: finished segments are kept.",
        flow_run_id=str(run.id),
    )
