"""Validate as a task: is everything there, readable, inside the limits, consented to, and is there a face?"""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.stages.identity import JobIdentity
from faceflow.stages.model import ValidatedJob
from faceflow.stages.validate import run_validate
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task("validate", "Checks inputs, limits, consent and faces; indexes every frame of the target.")
async def validate(identity: JobIdentity, job: SwapJob) -> ValidatedJob:
    """See `faceflow.stages.validate`."""
    run = current_run()
    return await run.work(
        "validate", run_validate, identity, job, run.settings, run.directory, run.progress("validate")
    )
