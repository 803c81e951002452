"""Swap as a task: one segment's faces, swapped, as a faces file."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.media.model import Segment
from faceflow.stages.identity import JobIdentity
from faceflow.stages.model import FacesArtifact, Mezzanine, Plan, ValidatedJob
from faceflow.stages.swap import run_swap
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task("swap", "Finds, aligns and swaps the faces of one segment.")
async def swap(
    identity: JobIdentity, job: SwapJob, validated: ValidatedJob, mezzanine: Mezzanine, plan: Plan, segment: Segment
) -> FacesArtifact:
    """See `faceflow.stages.swap`."""
    _ = identity
    run = current_run()
    return await run.work(
        "swap", run_swap, job, validated, mezzanine, plan, segment, run.settings, run.directory, run.progress("swap")
    )
