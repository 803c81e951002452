"""Segment as a task: plan the pieces that are worked on, and redone, as a whole."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import SEGMENTATION
from faceflow.stages.results import Mezzanine, Plan, ValidatedJob
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(SEGMENTATION.name, "Plans frame-exact segments of the mezzanine.")
async def segment_plan(identity: JobIdentity, job: SwapJob, validated: ValidatedJob, mezzanine: Mezzanine) -> Plan:
    """See `faceflow.stages.segment`."""
    _ = identity
    done: Plan = await current_run().work(SEGMENTATION, job=job, validated=validated, mezzanine=mezzanine)
    return done
