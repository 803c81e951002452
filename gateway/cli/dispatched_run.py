"""`faceflow swap --dispatch`: gives the job to the dispatcher, says what it decided, and follows the job to its end.

The rules choose the pool. Ending this process with Ctrl-C leaves the job running; the same command attaches to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
from rich.markup import escape

from faceflow.errors import FaceflowError, JobError, no_longer_followed
from faceflow.gateway.cli.remote_run import FOLLOW_S, SILENCE_S, require_server, result_of, worker_missing
from faceflow.gateway.cli.screen import console, progress_bar
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.lease import is_up, lease_server
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.settings import Settings
from faceflow.job import SwapJob
from faceflow.locations import in_store
from faceflow.log import events
from faceflow.media.facts import MediaInfo
from faceflow.stages.preflight import inputs_of, preflight

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from faceflow.flows.dispatcher.answer import Dispatching
    from faceflow.infrastructure.machine.ledger import JobRecord

DECIDE_S = 300.0
"""Longest wait for the dispatcher's answer, seconds."""
NEXT_ATTEMPT_S = 60.0
"""How long the next attempt of a lost run is waited for, beyond the time in which the dispatcher looks after them."""


class WaitingError(FaceflowError):
    """The job was taken in, nothing is wrong with it, and it has not been started yet."""

    family = "job"
    exit_code = 3


def run_dispatched(job: SwapJob, labels: dict[str, str], settings: Settings) -> tuple[JobRecord, str]:
    """Has the job run where the rules send it; gives what it produced, and the name under which its decisions are kept.

    Args:
        job: the request.
        labels: names and values that rules may ask for.
        settings: of this machine.

    Raises:
        ServerError: `server.not_running`, `server.deployment_missing`, `server.worker_missing`,
            `server.dispatcher_silent`, `server.unreachable`.
        WaitingError: `job.held`, `job.waits_for_approval`.
        JobError: `job.refused`.
        FaceflowError: what the job itself failed with.
    """
    known: dict[str, Any] = {"labels": labels}
    if not any(map(in_store, inputs_of(job))):  # what lies in a store is looked at where the job runs, not here
        described, _ = preflight(job, settings)
        known |= _known(described) if isinstance(described, MediaInfo) else {"frames": 1}
    require_server(settings, "--dispatch")
    with lease_server(settings) as address:
        point_prefect_at(settings.paths.state, address.api_url)
        # Of our own server we know whether its workers are there; a company's may come later.
        working = (lambda: is_up(settings)) if address.owned else lambda: True
        try:
            return asyncio.run(_dispatch_and_follow(job, known, settings, working))
        except KeyboardInterrupt:
            raise no_longer_followed() from None


def _known(media: MediaInfo) -> dict[str, Any]:
    """What the headers say."""
    video = media.video
    known: dict[str, Any] = {"width": video.width_px, "height": video.height_px}
    if media.duration_s:
        known["duration_s"] = media.duration_s
        if video.average_rate:
            known["frames"] = max(round(media.duration_s * video.average_rate), 1)
    return known


async def _dispatch_and_follow(
    job: SwapJob, known: dict[str, Any], settings: Settings, working: Callable[[], bool]
) -> tuple[JobRecord, str]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        said = await _dispatched(client, job, known, settings, working)
        console().print(escape(said.says))
        events().info(
            "job.dispatched", state=str(said.state), attempt=said.attempt, started=said.started, says=said.says
        )
        require_on_its_way(said)
        return await result_of(client, await _follow(client, said, settings)), said.request_id


async def _dispatched(
    client: PrefectClient, job: SwapJob, known: dict[str, Any], settings: Settings, working: Callable[[], bool]
) -> Dispatching:
    """The dispatcher's answer."""
    from prefect.client.schemas.objects import StateType, WorkPoolStatus
    from prefect.exceptions import ObjectNotFound

    from faceflow.flows.dispatcher.answer import DECISION_KEY, Dispatching
    from faceflow.flows.run.queries import artifact_rows, has_completed, has_ended, sent

    name = f"dispatch/{settings.routing.dispatcher_pool}"
    try:
        deployment = await client.read_deployment_by_name(name)
    except ObjectNotFound as error:
        raise ServerError(
            "server.deployment_missing",
            f"The server has no deployment {name!r}.",
            "Start the dispatcher with `faceflow up`, or set its pool with FACEFLOW_ROUTING__DISPATCHER_POOL.",
        ) from error
    pool = settings.routing.dispatcher_pool
    if not working() and (await client.read_work_pool(pool)).status is not WorkPoolStatus.READY:
        raise worker_missing(pool)
    parameters = {"job": sent(job), "known": known, "again": True}
    run = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    console().print(f"asked the dispatcher: run {run.name}  [dim]{run.id}[/]")
    events().info("job.asked", flow_run_id=str(run.id), pool=pool)
    deadline = time.monotonic() + DECIDE_S
    while time.monotonic() < deadline:
        run = await client.read_flow_run(run.id)
        if has_ended(run) or run.state_type is StateType.PAUSED:
            record = (await artifact_rows(client, run.id, DECISION_KEY)).get("record")
            if record is not None and (has_completed(run) or run.state_type is StateType.PAUSED):
                return Dispatching.model_validate_json(record)
            if has_ended(run):
                await result_of(client, run)  # raises what the dispatcher failed with
        await asyncio.sleep(FOLLOW_S)
    raise ServerError(
        "server.dispatcher_silent",
        f"The dispatcher has not answered for {DECIDE_S:.0f} s; its run is {run.id}.",
        "Check that a worker of its pool is running (`faceflow up`), and run the same command again.",
        flow_run_id=str(run.id),
    )


def require_on_its_way(said: Dispatching) -> None:
    """That the dispatcher has started the job.

    Raises:
        WaitingError: `job.held`, `job.waits_for_approval`.
        JobError: `job.refused`.
    """
    from faceflow.infrastructure.books.records.requests import RequestState

    if said.state is RequestState.APPROVAL:
        raise WaitingError(
            "job.waits_for_approval",
            "The job costs more than its budget holds.",
            "Approve it in the Prefect UI (the run of `dispatch` is suspended and shows a form), or raise the budget "
            "with `faceflow budget set`; then run the same command again.",
        )
    if said.state in {RequestState.HELD, RequestState.NEW}:
        reason = said.decision.reason if said.decision is not None else "no decision has been made yet"
        raise WaitingError(
            "job.held",
            f"The job is held: {reason}.",
            "It is re-evaluated automatically when signals, rules or budgets change. Run the same command again "
            "to follow it.",
        )
    if said.state is RequestState.REFUSED:
        raise JobError("job.refused", said.says.splitlines()[0], "Run `faceflow policy show` to see the rules.")


async def _follow(client: PrefectClient, said: Dispatching, settings: Settings) -> FlowRun:
    """The run that counts when it has ended: the first that ended well, or the last attempt's."""
    from faceflow.flows.run.progress import Snapshot
    from faceflow.flows.run.queries import has_completed, has_ended

    decision = said.decision
    pools = [run.pool for run in said.runs]
    if decision is not None:
        pools += [rejected.pool for rejected in decision.rejected]
        pools += [placement.pool for placement in decision.placements]
    attempt, heard = said.attempt, time.monotonic()
    ended_since: float | None = None
    with progress_bar() as move:
        while time.monotonic() - heard < SILENCE_S:
            try:
                later = await _runs_of(client, said.request_id, attempt + 1, pools)
                attempt, runs = (
                    (attempt + 1, later)
                    if later
                    else (attempt, await _runs_of(client, said.request_id, attempt, pools))
                )
                percent = max([await _percent(client, run) for run in runs if not has_ended(run)], default=0.0)
            except httpx.TransportError:
                await asyncio.sleep(FOLLOW_S)
                continue
            heard = time.monotonic()
            for run in runs:
                if has_completed(run):
                    return run
            alive = [run for run in runs if not has_ended(run)]
            if alive:
                ended_since = None
                state = f"attempt {attempt} " + ", ".join(
                    sorted({(run.state_name or "waits").lower() for run in alive})
                )
                events().info("run.followed", flow_run_id=str(alive[0].id), state=state, percent=percent)
                move(Snapshot(state, percent / 100, 0, 0.0, None, None))
            elif runs:
                ended_since = ended_since or heard
                waited_s = heard - ended_since
                longest_s = settings.routing.reconcile_s + NEXT_ATTEMPT_S
                if not await _may_come_back(client, runs[0]) or waited_s > longest_s:
                    return runs[0]
            await asyncio.sleep(FOLLOW_S)
    raise ServerError(
        "server.unreachable",
        f"The Prefect server has not answered for {SILENCE_S:.0f} s while this command was following the job.",
        "Run the same command again when the server is back: it follows the job again, or shows the finished result.",
    )


async def _runs_of(client: PrefectClient, name: str, attempt: int, pools: list[str]) -> list[FlowRun]:
    from faceflow.flows.run.queries import runs_with_keys

    return await runs_with_keys(client, [f"{name}.{attempt}.{pool}" for pool in dict.fromkeys(pools)])


async def _percent(client: PrefectClient, run: FlowRun) -> float:
    from faceflow.flows.run.artifacts import PROGRESS_KEY
    from faceflow.flows.run.queries import artifact_value

    return float(await artifact_value(client, run.id, PROGRESS_KEY) or 0.0)


async def _may_come_back(client: PrefectClient, run: FlowRun) -> bool:
    """Whether the dispatcher starts a run like this again."""
    from faceflow.flows.run.artifacts import FAILURE_KEY
    from faceflow.flows.run.queries import artifact_rows

    if run.state is None or run.state.is_crashed():
        return True
    return (await artifact_rows(client, run.id, FAILURE_KEY)).get("retryable") == "True"
