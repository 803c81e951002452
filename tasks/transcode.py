"""Transcode as a task: normalise the target where it does not fit, else take it as it is."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import TRANSCODE
from faceflow.stages.results import Mezzanine, ValidatedJob
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(TRANSCODE.name, "Normalises the target: size, interlacing, pixel format. Skipped when it already fits.")
async def transcode(identity: JobIdentity, job: SwapJob, validated: ValidatedJob) -> Mezzanine:
    """See `faceflow.stages.transcode`."""
    _ = identity  # names the result
    done: Mezzanine = await current_run().work(TRANSCODE, job=job, validated=validated)
    return done
