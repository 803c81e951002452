"""A group of segments of one job, on the pool that it was started on: swap, restore, compose, publish.

The coordinator (`swap_video`) has prepared the job and published that in the exchange, where the parts go too. The
shard decides nothing: it refuses media that its own zone may not hold, sees that its inputs are the coordinator's,
works, and helps with what is left of the job.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog
from prefect import flow
from pydantic import Field

from faceflow.errors import FaultError, JobError
from faceflow.flows.job.segments import SegmentWork, with_engine
from faceflow.flows.run.artifacts import PROGRESS_KEY, show_work
from faceflow.flows.run.entry import entered
from faceflow.flows.run.progress import RunProgress, shown
from faceflow.flows.run.starting import require_wanted
from faceflow.flows.run.termination import sigterm_is_heard
from faceflow.infrastructure.machine.ledger import JobPlace, claim
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.exchange import Exchange, exchange_folder
from faceflow.infrastructure.stores.inputs import inputs_here
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.stages.identity import identify
from faceflow.tasks.context import running
from faceflow.tasks.stage_task import version_digest
from faceflow.trust.consent import require_consent
from faceflow.vision.registry import require_engines
from faceflow.zones import require_pool_zone


@flow(
    name="swap-shard",
    flow_run_name="shard {job_id}",
    description="Swaps some segments of a job that another run coordinates.",
    persist_result=False,
)
async def swap_shard(
    job: SwapJob,
    job_id: Annotated[str, Field(title="Job id", description="As determined by the coordinator.")],
    segments: Annotated[list[int], Field(title="Segments", description="Segment numbers in the coordinator's plan.")],
) -> int:
    """Makes and publishes the parts of these segments, then helps with others; gives how many there are.

    Args:
        job: The whole request.
        job_id: What the coordinator made of it; other inputs make another one.
        segments: Which segments of the plan.

    Raises:
        FaceflowError: whatever went wrong.
    """
    async with entered() as settings:
        with sigterm_is_heard():
            await require_wanted()
            async with inputs_here(job, settings) as local_job:
                return await _swap_shard(local_job, job_id, segments, settings)


async def _swap_shard(request: SwapJob, job_id: str, numbers: list[int], settings: Settings) -> int:
    require_pool_zone(request.sensitivity, settings.pool.zone, settings.pool.name)
    require_consent(request, settings.trust)
    identity = await asyncio.to_thread(identify, request)
    if identity.job_id != job_id:
        raise JobError(
            "job.inputs_changed",
            f"The inputs of job {job_id} differ on this machine: here they make job {identity.job_id}.",
            "Make sure that all workers of the zone read the same files under the same paths.",
        )
    structlog.contextvars.bind_contextvars(task_id=job_id, model=request.swap.engine)
    job = await asyncio.to_thread(with_engine, request, settings)
    await asyncio.to_thread(require_engines, job.swap, settings, identifies=job.maps_people)
    # Kept under a name of its own, so that it neither meets the coordinator on the same machine nor stays behind.
    own = identity.model_copy(update={"job_id": f"{job_id}.shard-{min(numbers):05d}"})
    place, progress = JobPlace(settings, own), RunProgress()
    async with shown(progress, PROGRESS_KEY, f"Shard of job {job_id}"), claim(place):
        with running(settings, place.scratch, progress, job) as run:
            exchange = Exchange(settings, identity, job.sensitivity, version_digest(run))
            prepared = await asyncio.to_thread(exchange.fetch_prepared, job, place.scratch)
            if prepared is None:
                raise _not_prepared(job_id, settings)
            chosen = [segment for segment in prepared.plan.segments if segment.number in set(numbers)]
            progress.expect(sum(segment.frames for segment in chosen), transcoding=False)
            events().info("shard.began", segments=len(chosen))
            work = SegmentWork(job, own, run, progress, prepared, exchange)
            parts = await work.parts(chosen)
            while await work.help(progress.expect_more):
                pass
            await show_work(work.tally.frames, work.tally.seconds)
        await asyncio.to_thread(place.clear)
    events().info("shard.finished", segments=len(parts), taken=len(work.taken))
    return len(parts) + len(work.taken)


def _not_prepared(job_id: str, settings: Settings) -> FaultError:
    return FaultError(
        "fault.not_prepared",
        f"Job {job_id} is not in the exchange folder {str(exchange_folder(settings))!r}.",
        "Set FACEFLOW_EXCHANGE__FOLDER of all workers of the zone to one folder that they share, and give them the "
        "same version of faceflow.",
    )
