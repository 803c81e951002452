"""The front door: takes a request from the UI, a schedule or a program, decides where it runs and starts it there.

The dispatcher opens no media: the job runs wholly inside the zone that was chosen. Telling it the same request again
starts nothing and says where the job is; a job that was lost or failed in a way that may pass comes back as its next
attempt. A job over its budget waits here for somebody's approval: the run is suspended and takes no place meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

import structlog
from prefect import flow
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import asuspend_flow_run
from prefect.runtime import deployment, flow_run
from pydantic import Field

from faceflow.flows.dispatcher.answer import Dispatching, dispatching_of, show_dispatching
from faceflow.flows.dispatcher.approval import form_of, keep_approval, shortfall_of
from faceflow.flows.dispatcher.attempts import follow_up
from faceflow.flows.dispatcher.control import Control, controlling, now
from faceflow.flows.dispatcher.known_media import KnownMedia, request_id
from faceflow.flows.dispatcher.placement import current, place_next, start_placed
from faceflow.flows.run.entry import entered
from faceflow.flows.run.queries import read_runs
from faceflow.infrastructure.books.budgets.approvals import approvals
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.records.requests import Request, RequestState, change, remember
from faceflow.infrastructure.settings import Settings
from faceflow.job import SwapJob
from faceflow.log import events

_WAITS_IN = "it can be approved in flow run "
_OPEN = {RequestState.NEW, RequestState.HELD, RequestState.APPROVAL}
_AGAIN = {RequestState.FAILED, RequestState.CANCELLED, RequestState.REFUSED}


@flow(
    name="dispatch",
    flow_run_name="dispatch {job.target}",
    description="Decides where a job runs, reserves its money and starts it there.",
    persist_result=False,
)
async def dispatch(
    job: SwapJob,
    known: Annotated[
        KnownMedia, Field(title="Known", description="Facts about the target; the dispatcher does not open media.")
    ] = KnownMedia(),  # noqa: B008 - it is frozen
    name: Annotated[
        str,
        Field(
            title="Request",
            max_length=100,
            description="Name of the request; requests with the same name are the same job.",
        ),
    ] = "",
    again: Annotated[
        bool,
        Field(title="Again", description="Start the job again even if it is finished, failed, cancelled or refused."),
    ] = False,
) -> Dispatching:
    """Decides about a job and starts it where it was sent.

    Args:
        job: The whole request.
        known: What the caller knows of the media.
        name: Names the request; by default it is named by all that it says.
        again: Whether a job that has ended is started once more.

    Raises:
        FaceflowError: rules, pools or the database cannot be used.
    """
    async with entered() as settings:
        return await _dispatch(job, known, name or request_id(job), settings, again=again)


async def _dispatch(job: SwapJob, known: KnownMedia, name: str, settings: Settings, *, again: bool) -> Dispatching:
    structlog.contextvars.bind_contextvars(task_id=name, model=job.swap.engine)
    async with controlling(settings) as control:
        before = await asyncio.to_thread(remember, control.database, name, job, known.model_dump_json(), now())
        request = await advance(control, before)
        if again and (request.state in _AGAIN or request.state is RequestState.DONE):
            request = await place_next(control, request)
        while request.state is RequestState.APPROVAL and (answered := await _asked(control, request)) is not None:
            request = answered
        said = await dispatching_of(control, before, request)
        await show_dispatching(said)
        return said


async def advance(control: Control, request: Request) -> Request:
    """Brings a request as far as it comes by itself; used by every flow of the dispatcher."""
    if request.state in _OPEN:
        return await place_next(control, request)
    if request.state is RequestState.PLACING:
        if (now() - request.changed_at).total_seconds() < control.settings.routing.placing_s:
            return request  # another dispatcher is at it
        seized = await asyncio.to_thread(change, control.database, request, RequestState.PLACING, now())
        if seized is None:
            return await current(control, request)
        events().warning("job.found_left_behind", task_id=request.job_id, attempt=request.attempt)
        return await start_placed(control, seized)
    return await follow_up(control, request) if request.state is RequestState.PLACED else request


async def _asked(control: Control, request: Request) -> Request | None:
    """The request after somebody answered; None where nobody can be asked here.

    A suspended run begins anew when it is resumed, and comes here again with the answer.
    """
    if not flow_run.id or not deployment.id or await _is_asked_elsewhere(control, request):
        return None
    shortfall = await shortfall_of(control, request)
    if shortfall is None:
        return None
    marked = f"{request.decision.reason if request.decision else ''}; {_WAITS_IN}{flow_run.id}"
    kept = await asyncio.to_thread(change, control.database, request, RequestState.APPROVAL, now(), reason=marked)
    request = kept or await current(control, request)
    count = len(await asyncio.to_thread(approvals, control.database, request.job_id))
    key = f"approval-{count}"
    events().info("job.waits_for_approval", extra_usd=str(shortfall.extra_usd))
    await show_dispatching(await dispatching_of(control, request, request))
    answer = await asuspend_flow_run(
        wait_for_input=form_of(request, shortfall), timeout=int(control.settings.routing.approval_s), key=key
    )
    if not answer.approve:
        reason = f"{answer.name or 'a user'} did not approve the cost" + (f": {answer.why}" if answer.why else "")
        refused = await asyncio.to_thread(change, control.database, request, RequestState.REFUSED, now(), reason=reason)
        return refused or await current(control, request)
    try:
        await keep_approval(control, request, answer, f"{flow_run.id}.{key}")
    except BudgetError as error:
        events().warning("job.approval_refused", reason=error.message)
        return None
    return await place_next(control, request)


async def _is_asked_elsewhere(control: Control, request: Request) -> bool:
    """Whether another run waits with the form of this request."""
    _, marked, owner = request.reason.partition(_WAITS_IN)
    if not marked or owner == flow_run.id:
        return False
    found = (await read_runs(control.client, [UUID(owner)])).get(UUID(owner))
    return found is not None and found.state_type in {StateType.PAUSED, StateType.RUNNING, StateType.SCHEDULED}
