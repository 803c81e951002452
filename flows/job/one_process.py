"""One short job from start to end in this process: what a micro-batch of a campaign runs one after the other.

Plain functions, no task a stage, which would cost the server most of a second a job. Networks and analysers are loaded
by the first job and serve the others. A job is claimed and found again as by `swap-video`, so the two may be mixed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack
from contextvars import copy_context
from functools import partial

import structlog

from faceflow.errors import FaceflowError
from faceflow.flows.run.aftermath import Aftermath
from faceflow.infrastructure.machine.ledger import JobPlace, JobRecord, claim, finished_record
from faceflow.infrastructure.machine.memory import give_memory_back, keep_memory_low
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.stores.inputs import inputs_here
from faceflow.infrastructure.stores.output_claims import output_claimed
from faceflow.infrastructure.stores.resolve import check_output, store_for
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.progress import Progress
from faceflow.stages.identity import JobIdentity, identify
from faceflow.stages.place import carries_place
from faceflow.stages.whole import run_whole_job
from faceflow.tasks.stage_task import RETRY_DELAY_S
from faceflow.vision.registry import require_engines, resolve_engine
from faceflow.zones import require_pool_zone


async def render(job: SwapJob) -> JobRecord:
    """Runs a whole job in this process, or finds it finished. What may pass is tried again after a while.

    Raises:
        FaceflowError: whatever went wrong with this job.
    """
    for delay_s in RETRY_DELAY_S:
        try:
            return await _render_once(job)
        except FaceflowError as error:
            if not error.retryable:
                raise
            events().warning("job.tried_again", delay_s=delay_s, **error.to_dict())
            await asyncio.sleep(delay_s)
    return await _render_once(job)


async def _render_once(job: SwapJob) -> JobRecord:
    settings = current_settings()
    require_pool_zone(job.sensitivity, settings.pool.zone, settings.pool.name)
    await asyncio.to_thread(check_output, job, settings)
    async with inputs_here(job, settings) as local_job:
        return await _claimed(local_job, settings)


async def _claimed(job: SwapJob, settings: Settings) -> JobRecord:
    identity = await asyncio.to_thread(identify, job)
    structlog.contextvars.bind_contextvars(task_id=identity.job_id, model=job.swap.engine)
    place = JobPlace(settings, identity)
    async with claim(place), AsyncExitStack() as stack:
        found = await asyncio.to_thread(finished_record, place, job, settings)
        if found is not None:
            events().info("job.found_finished", output=found.delivery.link)
            return found.model_copy(update={"already_done": True})
        stack.enter_context(output_claimed(job.output, identity, settings))
        place.record.unlink(missing_ok=True)
        stop = threading.Event()
        bound = partial(copy_context().run, _render, job, identity, place, settings, stop)
        try:
            record = await asyncio.shield(work := asyncio.ensure_future(asyncio.to_thread(bound)))
        except asyncio.CancelledError:
            stop.set()  # its thread ends at the next frame, and is waited for: nobody writes into the folder any more
            await asyncio.gather(work, return_exceptions=True)
            raise
        finally:
            await asyncio.to_thread(place.clear)
            give_memory_back()
        after = Aftermath()
        await after.attempt(
            "The job's record could not be saved, so requesting the same job again would repeat the work",
            asyncio.to_thread(place.write_record, record),
        )
        record = after.noted(record)
        events().info("job.finished", output=record.delivery.link, frames=record.frames, seconds=record.seconds)
        return record


def _render(
    request: SwapJob, identity: JobIdentity, place: JobPlace, settings: Settings, stop: threading.Event
) -> JobRecord:
    keep_memory_low()
    begun = time.monotonic()
    engine = resolve_engine(request.swap.engine, settings)
    job = request.model_copy(update={"swap": request.swap.model_copy(update={"engine": engine})})
    require_engines(job.swap, settings, identifies=job.maps_people)
    store, key = store_for(job.output, settings, project=identity.project, job_id=identity.job_id)
    done = run_whole_job(job, identity, settings, place.scratch, store, key, Progress(stop=stop))
    return JobRecord(
        job_id=identity.job_id,
        project=identity.project,
        delivery=done.delivery,
        frames=done.output.frames,
        faces=done.output.faces,
        engine=engine,
        seconds=round(time.monotonic() - begun, 3),
        stages=done.seconds,
        notes=done.notes,
        carries_place=carries_place(job, settings.trust),
    )
