"""`faceflow swap --remote`: starts the job's deployment on a server and follows it to its end.

The job runs in a worker; this process only looks. Ending it with Ctrl-C leaves the job running.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from faceflow.errors import FaceflowError, FaultError, InputError, ServerError
from faceflow.job import SwapJob
from faceflow.settings import Settings
from faceflow.stages.preflight import preflight
from gateway.cli.screen import console, progress_bar
from infrastructure.server.environment import client_environment
from infrastructure.server.lease import lease_server, running_server

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from infrastructure.ledger import JobRecord

FOLLOW_S = 1.0


def run_remote(job: SwapJob, pool: str, settings: Settings) -> JobRecord:
    """Runs the job on `swap-video/<pool>` and gives what it produced.

    Raises:
        ServerError: `server.not_running`, `server.deployment_missing`.
        FaceflowError: what the job itself failed with.
    """
    preflight(job, settings)
    if running_server(settings) is None and not os.environ.get("PREFECT_API_URL"):
        raise ServerError(
            "server.not_running",
            "No Prefect server is running for --remote.",
            "Start one with `faceflow up`, or set PREFECT_API_URL to your server.",
        )
    with lease_server(settings) as address:
        os.environ.update(client_environment(settings.paths.state, address.api_url))
        return asyncio.run(_start_and_follow(job, pool))


async def _start_and_follow(job: SwapJob, pool: str) -> JobRecord:
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
                "Start the pool's worker with `faceflow up`, or name another one with --pool.",
            ) from error
        run = await client.create_flow_run_from_deployment(
            deployment.id, parameters={"job": job.model_dump(mode="json")}
        )
        console().print(f"run {run.name}  [dim]{run.id}[/]")
        final = await _follow(client, run.id)
        return await _result(client, final)


async def _follow(client: PrefectClient, run_id: UUID) -> FlowRun:
    from flows.artifacts import PROGRESS_KEY
    from flows.progress import Snapshot

    with progress_bar() as move:
        while True:
            run = await client.read_flow_run(run_id)
            if run.state is not None and run.state.is_final():
                return run
            progress = await _artifact(client, run_id, PROGRESS_KEY)
            fraction = float(progress) / 100 if progress is not None else 0.0
            stage = str(run.state.name).lower() if run.state is not None else "waiting"
            move(Snapshot(stage, fraction, 0, 0.0, None, None))
            await asyncio.sleep(FOLLOW_S)


async def _result(client: PrefectClient, run: FlowRun) -> JobRecord:
    from flows.artifacts import FAILURE_KEY, RESULT_KEY
    from infrastructure.ledger import JobRecord

    rows = _rows(await _artifact(client, run.id, RESULT_KEY))
    if run.state is not None and run.state.is_completed() and "record" in rows:
        return JobRecord.model_validate_json(rows["record"])
    failure = _rows(await _artifact(client, run.id, FAILURE_KEY))
    if "code" in failure:
        kind: type[FaceflowError] = InputError if failure.get("exit_code") == "2" else FaultError
        raise kind(failure["code"], failure["message"], failure["resolution"])
    state = run.state.name if run.state is not None else "unknown"
    raise FaultError(
        "fault.run_lost",
        f"The run ended as {state} without a result.",
        "Give the same command again: finished segments are not done again.",
        flow_run_id=str(run.id),
    )


async def _artifact(client: PrefectClient, run_id: UUID, key: str) -> Any:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    found = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), key=ArtifactFilterKey(any_=[key])
        )
    )
    return found[-1].data if found else None


def _rows(table: Any) -> dict[str, str]:
    if not isinstance(table, str):
        return {}
    return {str(row["what"]): str(row["value"]) for row in json.loads(table)}
