"""Looks after what was dispatched: books and settles what ended, starts what was lost, retries what was held.

`reconcile` and `retry-held` run on a schedule, and `reconcile` also as soon as Prefect hears of a lost or failed run.
Neither is needed for a job that simply runs, several may run at once, and each may be cut off: the next one goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed
from pydantic import ValidationError

from faceflow.errors import FaceflowError
from faceflow.flows.dispatch import advance
from faceflow.flows.dispatcher.control import Control, controlling, now
from faceflow.flows.dispatcher.known_media import KnownMedia, request_id
from faceflow.flows.run.automations import NEVER_BEGUN
from faceflow.flows.run.entry import entered
from faceflow.flows.run.queries import crashed_since, ended_badly_since, runs_in, silent_runs
from faceflow.flows.run.starting import never_begun, start_limit
from faceflow.infrastructure.books.budgets.reconciling import reconcile as reconcile_budgets
from faceflow.infrastructure.books.records.requests import Request, RequestState, find_request, remember, requests_in
from faceflow.infrastructure.sources.signals import SourceReport
from faceflow.job import SwapJob
from faceflow.log import events

FOLLOWED_FLOWS = ("swap-video", "swap-shard", "render-batch")
CHANGED_KEY = "reconciled-jobs"
SIGNALS_KEY = "signals"
_LOOK_BACK_S = 86_400.0
"""How far back lost runs of `dispatch` are looked for."""
_PASSES = 5
"""How often one run goes through all jobs while further runs are lost; then the schedule goes on."""
_ENDED = "It was told to stop and has sent no heartbeat since."
_LOST = "Heartbeat lost: the machine or the process is gone."


@flow(
    name="reconcile",
    description="Records how dispatched runs ended, settles budgets, and restarts lost jobs.",
    persist_result=False,
)
async def reconcile() -> int:
    """Brings every job on its way further. Gives how many changed."""
    on_its_way = (RequestState.NEW, RequestState.PLACING, RequestState.PLACED)
    return await _looking_after(on_its_way, mark_lost=True)


@flow(
    name="retry-held",
    description="Re-evaluates held jobs, since signals, rules or budgets may have changed.",
    persist_result=False,
)
async def retry_held() -> int:
    """Decides every held job again. Gives how many changed."""
    waiting = (RequestState.NEW, RequestState.HELD, RequestState.APPROVAL)
    return await _looking_after(waiting, mark_lost=False)


@flow(
    name="refresh-signals",
    description="Queries every source of signals and prices, so that decisions use fresh values.",
    persist_result=False,
)
async def refresh_signals() -> int:
    """Asks all sources. Gives how many answered."""
    async with entered() as settings, controlling(settings) as control:
        reports = await control.board.ask(fresh=True)
    rows = [_row_of(report) for report in reports]
    await acreate_table_artifact(table=rows, key=SIGNALS_KEY, description="Sources of signals")
    return sum(report.failure is None for report in reports)


async def _looking_after(states: Sequence[RequestState], *, mark_lost: bool) -> int:
    async with entered() as settings, controlling(settings) as control:
        changed = await (_look_after_all(control, states) if mark_lost else _advance_all(control, states))
    if changed:
        rows = [
            {"job": one.job_id, "state": str(one.state), "attempt": one.attempt, "reason": one.reason}
            for one in changed
        ]
        await acreate_table_artifact(table=rows, key=CHANGED_KEY, description="Jobs that moved on")
    return len(changed)


async def _look_after_all(control: Control, states: Sequence[RequestState]) -> list[Request]:
    """Marks what is lost, brings requests further, and books; again when a run was lost meanwhile.

    For its loss Prefect would have started this flow, but of two at a time the second is cancelled.
    """
    changed: list[Request] = []
    for _ in range(_PASSES):
        begun = now()
        await _mark_lost(control)
        await _take_in(control)
        changed += await _advance_all(control, states)
        await asyncio.to_thread(reconcile_budgets, control.database, control.settings.budgets, now())
        if not await ended_badly_since(control.client, FOLLOWED_FLOWS, begun):
            break
    return changed


async def _advance_all(control: Control, states: Sequence[RequestState]) -> list[Request]:
    """Brings requests further, each for itself: what one of them fails with keeps no other from it."""
    changed: list[Request] = []
    failed: FaceflowError | None = None
    for before in await asyncio.to_thread(requests_in, control.database, *states):
        with structlog.contextvars.bound_contextvars(task_id=before.job_id):
            try:
                after = await advance(control, before)
            except FaceflowError as error:
                failed = failed or error
                events().error("job.not_advanced", **error.to_dict())
                continue
            if (after.state, after.attempt) != (before.state, before.attempt):
                changed.append(after)
    if failed is not None and not changed:
        raise failed
    return changed


async def _take_in(control: Control) -> None:
    """Remembers requests whose run of `dispatch` was lost before it began, such as while the server was too busy."""
    since = now() - timedelta(seconds=_LOOK_BACK_S)
    for run in await crashed_since(control.client, "dispatch", since):
        try:
            job = SwapJob.model_validate(run.parameters["job"])
            known = KnownMedia.model_validate(run.parameters.get("known") or {})
        except (KeyError, ValidationError):  # it would have been refused
            continue
        name = run.parameters.get("name") or request_id(job)
        if await asyncio.to_thread(find_request, control.database, name) is not None:
            continue
        await asyncio.to_thread(remember, control.database, name, job, known.model_dump_json(), now())
        events().warning("job.taken_in", task_id=name, flow_run_id=str(run.id))


async def _mark_lost(control: Control) -> None:
    """Tells the server of runs that are silent or never began; where automations do that, nothing is left to do.

    A run that was asked to end and is silent has ended: the loser of a race may have been about to finish, and then
    nobody else says so.
    """
    limit = timedelta(seconds=control.settings.routing.silence_s)
    running: list[FlowRun] = await runs_in(control.client, FOLLOWED_FLOWS, StateType.RUNNING, StateType.CANCELLING)
    for run in await silent_runs(control.client, running, limit):
        if run.state_type is StateType.RUNNING:
            await control.client.set_flow_run_state(run.id, Crashed(message=_LOST), force=True)
            events().warning("run.silent", flow_run_id=str(run.id))
        elif run.state_type is StateType.CANCELLING:
            await control.client.set_flow_run_state(run.id, Cancelled(message=_ENDED), force=True)
    for run in await never_begun(control.client, FOLLOWED_FLOWS, start_limit(control.settings, control.pools)):
        await control.client.set_flow_run_state(run.id, Crashed(message=NEVER_BEGUN), force=True)
        events().warning("run.never_begun", flow_run_id=str(run.id), pool=run.work_pool_name)


def _row_of(report: SourceReport) -> dict[str, object]:
    return {
        "source": report.name,
        "readings": len(report.readings),
        "took, seconds": round(report.took_s, 3),
        "failure": report.failure or "",
    }
