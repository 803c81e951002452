"""How runs of an attempt fared, as Prefect says it, in the books; and what the runs of a shared job taught.

A job that several runs share is a measure of them all the same: each says in a table how many frames it worked on, and
for how long. A shard is booked against the estimate of its own frames. The coordinator's run lasts as long as the job,
waiting included; so what its own segments took is booked beside it, as a part that costs nothing by itself.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, StateType

from faceflow.flows.dispatcher.control import Control, now
from faceflow.flows.dispatcher.known_media import KnownMedia, facts_of
from faceflow.flows.dispatcher.losses import why_lost
from faceflow.flows.run.artifacts import FAILURE_KEY, WORK_KEY
from faceflow.flows.run.queries import artifact_rows, has_ended
from faceflow.infrastructure.books.records.requests import Request
from faceflow.infrastructure.books.records.runs import Run, RunKey, RunState, end_run, runs_of, start_run, submit_run

OWN_SEGMENTS = "own segments"
"""The part that stands for what a coordinator itself worked on."""
_ENDS = {
    StateType.COMPLETED: RunState.DONE,
    StateType.FAILED: RunState.FAILED,
    StateType.CRASHED: RunState.LOST,
    StateType.CANCELLED: RunState.CANCELLED,
}


async def book_run(control: Control, run: Run, found: FlowRun | None) -> None:
    """Keeps how far a run came."""
    key = run.key
    if found is None:  # somebody deleted it
        await asyncio.to_thread(end_run, control.database, key, RunState.LOST, now())
        return
    if found.start_time is not None:
        await asyncio.to_thread(start_run, control.database, key, found.start_time)
    if has_ended(found):
        await _book_end(control, key, found)


async def book_shards(control: Control, request: Request, run: Run) -> list[Run]:
    """Books the shards that a run started on pools of the list, and what it worked on itself; gives the shards."""
    if run.flow_run_id is None:
        return []
    chosen = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(run.flow_run_id)]))
    found = await control.client.read_flow_runs(flow_run_filter=chosen)
    for shard in found:
        pool = control.pools.by_name.get(shard.work_pool_name or "")
        if pool is None or shard.start_time is None:
            continue
        frames, _ = await _work_of(control, shard.id)
        facts = facts_of(request.job, request.job_id, request.attempt, _of_frames(request, frames), None)
        key = RunKey(job_id=request.job_id, attempt=request.attempt, pool=pool.name, part=str(shard.id))
        at = shard.created or now()
        submitted = partial(submit_run, control.database, facts, pool, at, part=key.part, flow_run_id=key.part)
        await asyncio.to_thread(submitted)
        await asyncio.to_thread(start_run, control.database, key, shard.start_time)
        if has_ended(shard):
            await _book_end(control, key, shard)
    await _book_own(control, request, run)
    ids = {str(shard.id) for shard in found}
    return [one for one in await asyncio.to_thread(runs_of, control.database, request.job_id) if one.part in ids]


async def _book_own(control: Control, request: Request, run: Run) -> None:
    """What a coordinator worked on itself, where it has finished the job."""
    pool = control.pools.by_name.get(run.pool)
    if pool is None or run.flow_run_id is None or run.state is not RunState.DONE:
        return
    frames, seconds = await _work_of(control, UUID(run.flow_run_id))
    if not frames:
        return
    facts = facts_of(request.job, request.job_id, request.attempt, _of_frames(request, frames), None)
    key = run.key.model_copy(update={"part": OWN_SEGMENTS})
    at = run.ended_at or now()

    def booked() -> None:
        submit_run(control.database, facts, pool, run.submitted_at, part=key.part)
        end_run(control.database, key, RunState.DONE, at, gpu_s=seconds, cost_usd=Decimal(0))

    await asyncio.to_thread(booked)


async def _work_of(control: Control, run_id: UUID) -> tuple[int, float]:
    """Frames that a run of a shared job worked on, and for how many seconds; zeros where it did not say."""
    rows = await artifact_rows(control.client, run_id, WORK_KEY)
    return int(rows.get("frames", 0)), float(rows.get("seconds", 0.0))


def _of_frames(request: Request, frames: int) -> KnownMedia:
    """What is known of the target, as if it had so many frames; with 0 its length is not known, and nothing learnt."""
    known = KnownMedia.model_validate_json(request.known)
    return known.model_copy(update={"frames": frames, "duration_s": 0.0})


async def _book_end(control: Control, key: RunKey, found: FlowRun) -> None:
    state = _ENDS[found.state_type or StateType.CRASHED]
    code = reason = None
    if state is RunState.FAILED:
        code = (await artifact_rows(control.client, found.id, FAILURE_KEY)).get("code")
    elif state is RunState.LOST:
        reason = await why_lost(control.client, found)
    seconds = 0.0 if found.start_time is None else max(found.total_run_time.total_seconds(), 0.0)
    ended: datetime = found.end_time or now()
    told = partial(end_run, control.database, key, state, ended, gpu_s=seconds, error_code=code, reason=reason)
    await asyncio.to_thread(told)
