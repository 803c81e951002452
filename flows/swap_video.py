"""One job from start to end: validate, transcode, segment, (swap, restore, compose) per segment, join, upload.

The flow only orchestrates. It claims the job, so that the same request at the same time runs once; it asks each
stage for its kept result before running it, so that a run after a crash redoes only what was in flight; it
works on a bounded number of segments at a time, so that memory and scratch stay bounded; and it leaves nothing
behind that is not needed to go on.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog
from prefect import flow
from prefect.runtime import flow_run

from faceflow.job import SwapJob
from faceflow.log import configure_logging, events
from faceflow.media.model import Segment
from faceflow.settings import Settings, current_settings
from faceflow.stages.identity import JobIdentity, identify
from faceflow.stages.model import Mezzanine, Output, Part, Plan, ValidatedJob
from faceflow.stages.sheet import before_after_jpeg
from faceflow.vision.registry import require_engines, resolve_engine
from faceflow.zones import require_zone
from flows.artifacts import PROGRESS_KEY, show_failure, show_pictures, show_result
from flows.failures import RESUMABLE, reason_of
from flows.progress import RunProgress, shown
from infrastructure.ledger import JobPlace, JobRecord, claim, remove_stale_work
from infrastructure.storage.resolve import store_for
from tasks.context import RunContext, running
from tasks.merge import compose, join
from tasks.restore import restore
from tasks.segment import segment_plan
from tasks.stage_task import call, kept_result
from tasks.swap import swap
from tasks.transcode import transcode
from tasks.upload import upload
from tasks.validate import validate


def _run_name() -> str:
    job = flow_run.parameters.get("job")
    target = job.target if isinstance(job, SwapJob) else str((job or {}).get("target", ""))
    return f"swap {Path(target).name or 'video'}"[:80]


@flow(
    name="swap-video",
    flow_run_name=_run_name,
    description="Swaps a face in one video or picture, every frame and timestamp kept.",
    persist_result=False,
)
async def swap_video(job: SwapJob) -> JobRecord:
    """Runs one job and gives what it produced.

    Args:
        job: Who goes into what, where the result goes, and under which conditions.

    Raises:
        FaceflowError: whatever went wrong, with a code, and a resolution that says what to do.
    """
    settings = current_settings()
    if not structlog.is_configured():  # a worker runs us, not the command line
        configure_logging(settings.log)
    try:
        return await _swap_video(job, settings)
    except Exception as error:
        reason = reason_of(error)
        await show_failure(reason)
        raise reason from error


async def _swap_video(job: SwapJob, settings: Settings) -> JobRecord:
    require_zone(job.sensitivity, settings.pool.zone, f"The work pool {settings.pool.name!r}")
    await asyncio.to_thread(remove_stale_work, settings, settings.pipeline.keep_interrupted_s)
    identity = await asyncio.to_thread(identify, job)
    structlog.contextvars.bind_contextvars(task_id=identity.job_id, model=job.swap.engine)
    place = JobPlace(settings, identity)
    progress = RunProgress()
    async with shown(progress, PROGRESS_KEY, f"Job {identity.job_id}"), claim(place):
        record = await asyncio.to_thread(_finished, place, job, settings)
        if record is not None:
            events().info("job.found_finished", output=record.delivery.link)
            record = record.model_copy(update={"already_done": True})
            await show_result(record)
            return record
        place.record.unlink(missing_ok=True)
        try:
            record = await _run(job, identity, place, settings, progress)
        except Exception as error:
            reason = reason_of(error)
            if not isinstance(reason, RESUMABLE):
                await asyncio.to_thread(place.clear)
            raise reason from error
        place.write_record(record)
        await asyncio.to_thread(place.clear)
        await show_result(record)
        events().info("job.finished", output=record.delivery.link, frames=record.frames, seconds=record.seconds)
        return record


async def _run(
    job: SwapJob, identity: JobIdentity, place: JobPlace, settings: Settings, progress: RunProgress
) -> JobRecord:
    begun = time.monotonic()
    # Settled once, so that all segments agree, and before anything is kept: another engine is another key.
    engine = await asyncio.to_thread(resolve_engine, job.swap.engine, settings)
    job = job.model_copy(update={"swap": job.swap.model_copy(update={"engine": engine})})
    await asyncio.to_thread(require_engines, job.swap, settings, identifies=job.maps_people)
    structlog.contextvars.bind_contextvars(model=engine)
    events().info("job.started", target=job.target)
    with running(settings, place.scratch, progress, job) as run:
        validated: ValidatedJob = await call(validate, identity, job=job)
        if validated.media is not None:
            size = f"{validated.media.video.width_px}x{validated.media.video.height_px}"
            structlog.contextvars.bind_contextvars(input_size=size)
        mezzanine: Mezzanine = await call(transcode, identity, job=job, validated=validated)
        progress.expect(validated.frames, transcoding=bool(mezzanine.transcoded))
        plan: Plan = await call(segment_plan, identity, job=job, validated=validated, mezzanine=mezzanine)
        parts = await _parts(job, identity, run, progress, validated, mezzanine, plan)
        output: Output = await call(join, identity, job=job, validated=validated, mezzanine=mezzanine, parts=parts)
        delivery = await call(upload, identity, job=job, output=output)
        sheet = await asyncio.to_thread(before_after_jpeg, validated, mezzanine, output.file.path, settings.limits)
    await show_pictures(sheet)
    return JobRecord(
        job_id=identity.job_id,
        project=identity.project,
        delivery=delivery,
        frames=output.frames,
        faces=output.faces,
        engine=engine,
        seconds=round(time.monotonic() - begun, 3),
        stages=_by_stage(progress.seconds),
        notes=(*validated.notes, *output.notes),
    )


async def _parts(
    job: SwapJob,
    identity: JobIdentity,
    run: RunContext,
    progress: RunProgress,
    validated: ValidatedJob,
    mezzanine: Mezzanine,
    plan: Plan,
) -> tuple[Part, ...]:
    """The encoded part of every segment, a bounded number of them in work at a time."""
    in_flight = asyncio.Semaphore(run.settings.pipeline.segments_in_flight)

    async def part_of(segment: Segment) -> Part:
        async with in_flight:
            try:
                return await _part(job, identity, progress, validated, mezzanine, plan, segment)
            except BaseException:
                run.stop.set()  # threads of the other segments end at their next frame
                raise

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part_of(segment)) for segment in plan.segments]
    return tuple(task.result() for task in tasks)


async def _part(
    job: SwapJob,
    identity: JobIdentity,
    progress: RunProgress,
    validated: ValidatedJob,
    mezzanine: Mezzanine,
    plan: Plan,
    segment: Segment,
) -> Part:
    number = segment.number
    structlog.contextvars.bind_contextvars(segment=number)
    common = {"job": job, "segment": segment}
    media = {"validated": validated, "mezzanine": mezzanine}
    kept = await kept_result(compose, identity, number)
    if isinstance(kept, Part):
        for stage in ("swap", "restore", "compose"):
            progress.resumed(stage, segment.frames)
        # The task's kept result comes back; the faces it was made of are gone and not needed.
        part: Part = await call(compose, identity, number, faces=None, **common, **media)
        return part
    swapped = await call(swap, identity, number, plan=plan, **common, **media)
    restored = await call(restore, identity, number, faces=swapped, **common)
    part = await call(compose, identity, number, faces=restored, **common, **media)
    for faces in (swapped, restored):
        faces.file.path.unlink(missing_ok=True)
    return part


def _finished(place: JobPlace, job: SwapJob, settings: Settings) -> JobRecord | None:
    """The job's record when its output is still where it was put, unchanged."""
    record = place.read_record()
    if record is None:
        return None
    store, key = store_for(job.output, settings)
    stored = store.head(key)
    return record if stored is not None and stored.sha256 == record.delivery.sha256 else None


def _by_stage(seconds: dict[str, float]) -> dict[str, float]:
    stages = dict.fromkeys(("validate", "transcode", "segment", "swap", "restore", "merge", "upload"), 0.0)
    for task, spent_s in seconds.items():
        stages["merge" if task in ("compose", "join") else task] += spent_s
    return {stage: round(spent_s, 3) for stage, spent_s in stages.items()}
