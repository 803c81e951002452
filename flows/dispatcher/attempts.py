"""What became of the runs of an attempt: booked, settled, started again where they were lost.

Prefect says how runs fared; what it said is kept, once. When the last run of an attempt has ended its money is settled
with what the runs cost, shards included. Everything here may be cut off and done again.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from uuid import UUID

from faceflow.flows.dispatcher.booking import book_run, book_shards
from faceflow.flows.dispatcher.control import Control, now
from faceflow.flows.dispatcher.losses import why_lost
from faceflow.flows.dispatcher.placement import current, place_next
from faceflow.flows.job.race import STOPPED, forget_claims
from faceflow.flows.run.artifacts import FAILURE_KEY, PROGRESS_KEY
from faceflow.flows.run.queries import artifact_rows, artifact_value, cancel_run, read_runs
from faceflow.infrastructure.books.records.requests import Request, RequestState, change
from faceflow.infrastructure.books.records.runs import Run, RunState, end_run, runs_of
from faceflow.infrastructure.routing.decision import Way
from faceflow.infrastructure.routing.pools import Capacity
from faceflow.infrastructure.routing.snapshot import JobProgress
from faceflow.log import events


async def follow_up(control: Control, request: Request) -> Request:
    """Looks what became of the runs of a placed request, and brings it further where they have ended.

    Returns:
        The request as it is now: placed still, or again as a later attempt; done, failed or cancelled; or held,
        refused, waiting for approval as a later attempt.
    """
    await _explain_losses(control, request)
    runs = await _runs(control, request)
    there = await read_runs(control.client, [UUID(run.flow_run_id) for run in runs if run.flow_run_id])
    for run in runs:
        if not run.state.ended and run.flow_run_id is not None:
            await book_run(control, run, there.get(UUID(run.flow_run_id)))
    runs = await _runs(control, request)
    alive = [run for run in runs if not run.state.ended]
    if any(run.state is RunState.DONE for run in runs):
        for run in alive:  # the losers of a race
            found = there.get(UUID(run.flow_run_id)) if run.flow_run_id else None
            if found is not None:
                await cancel_run(control.client, found, STOPPED)
    if alive or not runs:
        await asyncio.to_thread(control.budgets.renew, request.job_id, request.attempt)
        return request
    return await _ended(control, request, runs)


async def _ended(control: Control, request: Request, runs: list[Run]) -> Request:
    """Settles the attempt, and ends the request or starts its next attempt."""
    shards = [shard for run in runs for shard in await book_shards(control, request, run)]
    costs = [run.cost_usd for run in (*runs, *shards)]
    spent = sum((cost for cost in costs if cost is not None), Decimal(0))
    settled = await asyncio.to_thread(control.budgets.settle, request.job_id, request.attempt, spent)
    events().info("job.settled", task_id=request.job_id, attempt=request.attempt, spent_usd=str(settled.spent_usd))
    if request.decision is not None and request.decision.way is Way.RACE:
        await forget_claims(control.client, request.job_id, request.attempt)
    states = {run.state for run in runs}
    if RunState.DONE in states:
        return await _changed(control, request, RequestState.DONE, "")
    lost = RunState.LOST in states or await _may_pass(control, runs)
    if not lost:
        cancelled = states == {RunState.CANCELLED}
        reason = "its runs were cancelled" if cancelled else await _why_failed(control, runs)
        return await _changed(control, request, RequestState.CANCELLED if cancelled else RequestState.FAILED, reason)
    if request.attempt >= control.settings.routing.attempts:
        reason = f"{request.attempt} attempts were lost; the last one: {await _why_failed(control, runs)}"
        return await _changed(control, request, RequestState.FAILED, reason)
    events().warning("job.lost", task_id=request.job_id, attempt=request.attempt, pools=[run.pool for run in runs])
    return await place_next(control, request, await _progress(control, request, runs))


async def _runs(control: Control, request: Request) -> list[Run]:
    """The attempt's own runs, without shards."""
    found = await asyncio.to_thread(runs_of, control.database, request.job_id)
    return [run for run in found if run.attempt == request.attempt and not run.part]


async def _explain_losses(control: Control, request: Request, *, for_the_last_time: bool = False) -> None:
    """Keeps what the clouds have said meanwhile of runs that were lost; failing that, in the end, what Prefect says."""
    kept = await asyncio.to_thread(runs_of, control.database, request.job_id)
    silent = {UUID(run.flow_run_id): run for run in kept if _is_unexplained(run) and run.flow_run_id}
    for run_id, found in (await read_runs(control.client, list(silent))).items():
        run = silent[run_id]
        reason = await why_lost(control.client, found, for_the_last_time=for_the_last_time)
        told = partial(end_run, control.database, run.key, run.state, run.ended_at or now(), reason=reason)
        await asyncio.to_thread(told)


def _is_unexplained(run: Run) -> bool:
    return run.state is RunState.LOST and run.reason is None


async def _may_pass(control: Control, runs: list[Run]) -> bool:
    """Whether a run failed in a way that may pass."""
    for run in runs:
        if run.state is RunState.FAILED and run.flow_run_id is not None:
            rows = await artifact_rows(control.client, UUID(run.flow_run_id), FAILURE_KEY)
            if rows.get("retryable") == "True":
                return True
    return False


async def _why_failed(control: Control, runs: list[Run]) -> str:
    for run in runs:
        if run.flow_run_id is not None:
            rows = await artifact_rows(control.client, UUID(run.flow_run_id), FAILURE_KEY)
            if "message" in rows:
                return f"{rows['message']} [{rows.get('code', '')}]"
    return "; ".join(f"{run.state} on {run.pool}{f', {run.reason}' if run.reason else ''}" for run in runs)


async def _progress(control: Control, request: Request, runs: list[Run]) -> JobProgress:
    """How far the attempt came; nothing is left of it elsewhere unless workers share their finished parts."""
    first = (await asyncio.to_thread(runs_of, control.database, request.job_id))[0]
    last = runs[0]
    done = 0.0
    if control.settings.exchange.folder is not None and last.flow_run_id is not None:
        percent = await artifact_value(control.client, UUID(last.flow_run_id), PROGRESS_KEY)
        done = min(max(float(percent or 0.0) / 100, 0.0), 1.0)
    pool = control.pools.by_name.get(last.pool)
    on_demand = pool is not None and pool.capacity is Capacity.ON_DEMAND
    return JobProgress(done=done, started_at=first.submitted_at, on_demand=on_demand)


async def _changed(control: Control, request: Request, state: RequestState, reason: str) -> Request:
    """The request ends; nobody will ask about its runs again."""
    await _explain_losses(control, request, for_the_last_time=True)
    changed = await asyncio.to_thread(change, control.database, request, state, now(), reason=reason)
    if changed is not None:
        events().info("job.ended", task_id=request.job_id, state=str(state), reason=reason)
    return changed or await current(control, request)
