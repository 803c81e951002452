"""Swap as a task: one segment's faces, swapped, as a faces file."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.media.facts import Segment
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import SWAP
from faceflow.stages.results import FacesArtifact, Mezzanine, Plan, ValidatedJob
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(SWAP.name, "Finds, aligns and swaps the faces of one segment.")
async def swap(
    identity: JobIdentity, job: SwapJob, validated: ValidatedJob, mezzanine: Mezzanine, plan: Plan, segment: Segment
) -> FacesArtifact:
    """See `faceflow.stages.swap`."""
    _ = identity
    done: FacesArtifact = await current_run().work(
        SWAP, job=job, validated=validated, mezzanine=mezzanine, plan=plan, segment=segment
    )
    return done
