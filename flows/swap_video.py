"""One job from start to end: validate, transcode, segment, (swap, restore, compose) per segment, join, upload.

The flow only orchestrates. It refuses media that this machine's zone may not hold, before any is opened; it claims
the job, so that the same request at the same time runs once; it asks each stage for its kept result before running
it, so that a run after a crash redoes only what was in flight; and it leaves nothing behind that is not needed to
go on. Once the result is delivered nothing takes it back: what fails after that is a note (`aftermath`). Where the
dispatcher gave the job to several pools it hands shards to them (`fan_out`); in a race it stops the others when it is
done.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import structlog
from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from faceflow.flows.job.assignment import Dispatched
from faceflow.flows.job.race import claim_delivery, stop_rivals
from faceflow.flows.job.segments import SegmentWork, with_engine
from faceflow.flows.job.shards import parts_by_shards
from faceflow.flows.run.aftermath import Aftermath, gives
from faceflow.flows.run.artifacts import PROGRESS_KEY, show_pictures, show_result, show_work
from faceflow.flows.run.entry import entered
from faceflow.flows.run.progress import RunProgress, shown
from faceflow.flows.run.reasons import RESUMABLE, reason_of
from faceflow.flows.run.starting import require_wanted
from faceflow.flows.run.termination import sigterm_is_heard
from faceflow.infrastructure.machine.ledger import JobPlace, JobRecord, claim, finished_record, remove_stale_work
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.exchange import Exchange, PreparedJob, remove_stale_exchange
from faceflow.infrastructure.stores.inputs import inputs_here, remove_stale_inputs
from faceflow.infrastructure.stores.output_claims import output_claimed
from faceflow.infrastructure.stores.resolve import check_output
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.stages import order
from faceflow.stages.identity import JobIdentity, identify
from faceflow.stages.notes import notes_of
from faceflow.stages.place import carries_place
from faceflow.stages.results import Delivery, Output, VideoSubject
from faceflow.stages.sheet import before_after_jpeg
from faceflow.tasks.context import RunContext, running
from faceflow.tasks.stage_task import version_digest
from faceflow.tasks.steps import all_done, kept
from faceflow.trust.consent import require_consent
from faceflow.vision.registry import require_engines
from faceflow.zones import require_pool_zone

_NOT_KEPT = "The job's record could not be saved, so the same command would repeat the job"


def _run_name() -> str:
    job = flow_run.parameters.get("job")
    target = job.target if isinstance(job, SwapJob) else str((job or {}).get("target", ""))
    return f"swap {Path(target).name or 'video'}"[:80]


@flow(
    name="swap-video",
    flow_run_name=_run_name,
    description="Swaps faces in one video or picture, keeping every frame and timestamp.",
    persist_result=False,
)
async def swap_video(
    job: SwapJob,
    dispatched: Annotated[
        Dispatched | None, Field(title="Dispatched", description="Filled in by `dispatch`; leave it empty.")
    ] = None,
) -> JobRecord:
    """Runs one job and gives what it produced.

    Args:
        job: Who goes into what, where the result goes, and under which conditions.
        dispatched: Which attempt this is, and which other pools work on it.

    Raises:
        FaceflowError: whatever went wrong, with a code, and a resolution that says what to do.
    """
    async with entered() as settings:
        events().info("run.started", pool=settings.pool.name, zone=str(settings.pool.zone))
        with sigterm_is_heard():
            if dispatched is not None:
                await require_wanted()
            await asyncio.to_thread(check_output, job, settings)
            async with inputs_here(job, settings) as local_job:
                return await _swap_video(local_job, job, settings, dispatched)


async def _swap_video(job: SwapJob, asked: SwapJob, settings: Settings, dispatched: Dispatched | None) -> JobRecord:
    """Runs `job`, whose inputs are files here; other workers are given what was `asked`."""
    require_pool_zone(job.sensitivity, settings.pool.zone, settings.pool.name)
    for remove_stale in (remove_stale_work, remove_stale_exchange, remove_stale_inputs):
        await asyncio.to_thread(remove_stale, settings, settings.pipeline.keep_interrupted_s)
    identity = await asyncio.to_thread(identify, job)
    structlog.contextvars.bind_contextvars(task_id=identity.job_id, model=job.swap.engine)
    place = JobPlace(settings, identity)
    progress = RunProgress()
    async with shown(progress, PROGRESS_KEY, f"Job {identity.job_id}"), claim(place), AsyncExitStack() as stack:
        record = await asyncio.to_thread(finished_record, place, job, settings)
        if record is not None:
            events().info("job.found_finished", output=job.output)
            progress.complete()
            await asyncio.to_thread(place.clear)  # of a run that was ended after its result stood
            found = gives(record.model_copy(update={"already_done": True}))
            return await _told(found, Aftermath(), dispatched, settings)
        stack.enter_context(output_claimed(job.output, identity, settings))
        place.record.unlink(missing_ok=True)
        try:
            record, after = await _run(job, asked, identity, place, settings, progress, dispatched)
        except Exception as error:
            reason = reason_of(error)
            if not isinstance(reason, RESUMABLE):
                await asyncio.to_thread(place.clear)
            raise reason from error
        progress.complete()
        await asyncio.to_thread(place.clear)
        told = await _told(record, after, dispatched, settings)
        if told.notes != record.notes:
            await after.attempt("The notes on this job could not be saved", asyncio.to_thread(place.write_record, told))
        events().info("job.finished", output=job.output, frames=told.frames, seconds=told.seconds)
        return told


async def _run(
    request: SwapJob,
    asked: SwapJob,
    identity: JobIdentity,
    place: JobPlace,
    settings: Settings,
    progress: RunProgress,
    dispatched: Dispatched | None,
) -> tuple[JobRecord, Aftermath]:
    begun = time.monotonic()
    # Settled once, so that all segments agree, and before anything is kept: another engine is another key.
    job = await asyncio.to_thread(with_engine, request, settings)
    engine = job.swap.engine
    await asyncio.to_thread(require_engines, job.swap, settings, identifies=job.maps_people)
    structlog.contextvars.bind_contextvars(model=engine)
    events().info("job.started", target=job.target)
    with running(settings, place.scratch, progress, job) as run:
        several = dispatched is not None and dispatched.is_shared
        exchange = None
        if several or settings.exchange.folder is not None:
            exchange = Exchange(settings, identity, job.sensitivity, version_digest(run))
        prepared = await _prepared(job, identity, run, exchange)
        validated, mezzanine = prepared.validated, prepared.mezzanine
        subject = validated.subject
        if isinstance(subject, VideoSubject):
            size = f"{subject.media.video.width_px}x{subject.media.video.height_px}"
            structlog.contextvars.bind_contextvars(input_size=size)
        progress.expect(subject.frames, transcoding=bool(mezzanine.transcoded))
        work = SegmentWork(job, identity, run, progress, prepared, exchange)
        if dispatched is not None and several:
            by_number = await parts_by_shards(work, asked, dispatched)
            await show_work(work.tally.frames, work.tally.seconds)
        else:
            by_number = await work.parts(prepared.plan.segments)
        parts = tuple(by_number[segment.number] for segment in prepared.plan.segments)
        known = await all_done(order.JOINING, identity, {"job": job, **dict(prepared), "parts": parts})
        await claim_delivery(dispatched, settings.pool.name)
        known = await all_done(order.DELIVERY, identity, known)
        output: Output = known["output"]
        delivery: Delivery = known["delivery"]
        record = JobRecord(
            job_id=identity.job_id,
            project=identity.project,
            delivery=delivery,
            frames=output.frames,
            faces=output.faces,
            engine=engine,
            seconds=round(time.monotonic() - begun, 3),
            stages=order.by_stage(progress.seconds),
            notes=notes_of(validated, mezzanine, output, delivery.notes),
            carries_place=carries_place(job, settings.trust),
        )
        after = Aftermath()
        await after.attempt(_NOT_KEPT, asyncio.to_thread(place.write_record, gives(record)))
        drawn = asyncio.to_thread(before_after_jpeg, mezzanine, output.file.path, settings.limits)
        sheet = await after.attempt("The before/after picture could not be made", drawn)
        if exchange is not None:
            cleared = asyncio.to_thread(exchange.clear)
            await after.attempt("The files shared with other workers could not be removed", cleared)
    if sheet is not None:
        await after.attempt("The before/after picture could not be shown in the Prefect UI", show_pictures(sheet))
    return record, after


async def _told(record: JobRecord, after: Aftermath, dispatched: Dispatched | None, settings: Settings) -> JobRecord:
    """Shows the result in the Prefect UI and stops the rivals of a race; gives the record with all notes."""
    await after.attempt("The result could not be shown in the Prefect UI", show_result(after.noted(record)))
    rivals = stop_rivals(dispatched, settings.pool.name)
    await after.attempt("The other runs of the race could not be stopped", rivals)
    return gives(after.noted(record))


async def _prepared(job: SwapJob, identity: JobIdentity, run: RunContext, exchange: Exchange | None) -> PreparedJob:
    """What segments need to know: as an earlier run on another machine published it, or found out here."""
    if exchange is not None and await kept(order.PREPARATION[-1], identity) is None:
        found = await asyncio.to_thread(exchange.fetch_prepared, job, run.directory)
        if found is not None:
            require_consent(job, run.settings.trust)
            events().info("job.found_prepared", frames=found.validated.subject.frames)
            return found
    known = await all_done(order.PREPARATION, identity, {"job": job})
    prepared = PreparedJob(**{name: known[name] for name in PreparedJob.model_fields})
    if exchange is not None:
        await asyncio.to_thread(exchange.publish_prepared, prepared)
    return prepared
