"""One job on several runs: shards are started on their pools, the coordinator works on its own share, then helps.

The coordinator does not wait forever for shards that no run begins: once its own share is done it takes back what has
not started or has failed, and helps with what was begun. So a pool without a worker, a full one (even its own), a slow
or a lost shard costs time, not the job. What shards finish comes back through the exchange; only segments that are
nowhere are done again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.runtime import flow_run

from faceflow.flows.job.assignment import Dispatched
from faceflow.flows.job.segments import SegmentWork
from faceflow.flows.job.shard_plan import Shard, plan_shards, seconds_a_frame
from faceflow.flows.run.queries import cancel_run, has_completed, has_ended, sent
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.media.facts import Segment
from faceflow.stages.results import Part

POLL_S = 1.0
SHARD_FLOW = "swap-shard"


@dataclass(slots=True)
class _Started:
    """A shard that a run was made for."""

    shard: Shard
    run: FlowRun
    since: float
    missing: dict[int, Segment] = field(default_factory=dict)


async def parts_by_shards(work: SegmentWork, request: SwapJob, dispatched: Dispatched) -> dict[int, Part]:
    """The encoded part of every segment of the job, by the segment's number.

    Args:
        work: the job in this process; its exchange is where shards publish.
        request: the job as it was asked for, before engines were resolved.
        dispatched: the places that share it, this process's own first.
    """
    segments = work.prepared.plan.segments
    parts = {segment.number: part for segment in segments if (part := await work.known(segment)) is not None}
    missing = [segment for segment in segments if segment.number not in parts]
    frame_s = [seconds_a_frame(work.job, work.prepared, place.gpu) for place in dispatched.places]
    own, *others = plan_shards(missing, dispatched.places, frame_s, work.run.settings.pipeline.shard_s)
    if others:
        async with get_client() as client:
            return parts | await _share(client, work, request, own, others)
    return parts | await work.parts(own.segments)


async def _share(
    client: PrefectClient, work: SegmentWork, request: SwapJob, own: Shard, others: list[Shard]
) -> dict[int, Part]:
    started: list[_Started] = []
    mine = list(own.segments)
    try:
        for shard in others:
            one = await _start(client, work, request, shard)
            if one is None:
                mine += shard.segments
            else:
                started.append(one)
        counting = asyncio.create_task(_count(work, started))
        try:
            parts = await work.parts(mine)
            while started:
                parts |= await _collect(client, work, started)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
    except BaseException:
        for one in started:
            with suppress(httpx.HTTPError, PrefectException):  # the reason is what has to be told
                await cancel_run(client, one.run, "The job of this shard has ended.")
        raise
    return parts


async def _start(client: PrefectClient, work: SegmentWork, request: SwapJob, shard: Shard) -> _Started | None:
    first, last = shard.segments[0].number, shard.segments[-1].number
    parameters = {
        "job": sent(request),
        "job_id": work.identity.job_id,
        "segments": [segment.number for segment in shard.segments],
    }
    log = events().bind(pool=shard.pool, first_segment=first, last_segment=last, work_s=round(shard.work_s, 1))
    try:
        run = await arun_deployment(
            f"{SHARD_FLOW}/{shard.pool}",
            client=client,
            parameters=parameters,
            idempotency_key=f"{flow_run.id}.{first}-{last}",
            work_queue_name=str(request.priority),
            timeout=0,
        )
    except ObjectNotFound:
        log.warning("shard.no_deployment")
        return None
    log.info("shard.started", flow_run_id=str(run.id))
    return _Started(shard, run, time.monotonic(), {segment.number: segment for segment in shard.segments})


async def _collect(client: PrefectClient, work: SegmentWork, started: list[_Started]) -> dict[int, Part]:
    """Parts of a shard that has ended, or of one that is taken back; helps or waits a little where there is neither."""
    idle: _Started | None = None
    for one in started:
        one.run = await client.read_flow_run(one.run.id)
        if has_ended(one.run):
            break
        if _may_take_back(one, work.run.settings.pipeline.shard_start_s):
            idle = idle or one
    else:
        if idle is None:
            if not await work.help():
                await asyncio.sleep(POLL_S)
            return {}
        one = idle
        await cancel_run(client, one.run, "The coordinator ran out of work and took this shard back.")
    started.remove(one)
    if not has_completed(one.run):
        state = one.run.state_name or "unknown"
        events().warning("shard.taken_back", flow_run_id=str(one.run.id), pool=one.shard.pool, state=state.lower())
    return await work.parts(one.shard.segments)  # what it published is found, the rest is done here


def _may_take_back(one: _Started, patience_s: float) -> bool:
    """Whether a shard has kept the idle coordinator waiting for longer than is reasonable.

    A worker that is starting it gets as long as the work would take here: so the job takes at most twice as long as if
    one had known. One that no worker has taken gets half the time; workers ask every few seconds.
    """
    waited_s = time.monotonic() - one.since
    if one.run.state_type is StateType.PENDING:
        return waited_s > max(one.shard.work_s, patience_s)
    return one.run.state_type is StateType.SCHEDULED and waited_s > patience_s / 2


async def _count(work: SegmentWork, started: list[_Started]) -> None:
    """Counts what shards have published, so that the bar moves with them."""
    while True:
        for one in list(started):
            for segment in list(one.missing.values()):
                if work.exchange is not None and await asyncio.to_thread(work.exchange.has_part, segment):
                    del one.missing[segment.number]
                    work.count(segment)
        await asyncio.sleep(POLL_S)
