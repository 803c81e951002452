"""Validate as a task: is everything there, readable, inside the limits, consented to, and is there a face?"""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import VALIDATE
from faceflow.stages.results import ValidatedJob
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(VALIDATE.name, "Checks inputs, limits, consent and faces; indexes every frame of the target.")
async def validate(identity: JobIdentity, job: SwapJob) -> ValidatedJob:
    """See `faceflow.stages.validate`."""
    done: ValidatedJob = await current_run().work(VALIDATE, identity=identity, job=job)
    return done
