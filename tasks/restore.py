"""Restore as a task: the faces of one segment, improved."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.media.facts import Segment
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import RESTORE
from faceflow.stages.results import FacesArtifact
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(RESTORE.name, "Improves the swapped faces of one segment.")
async def restore(identity: JobIdentity, job: SwapJob, faces: FacesArtifact, segment: Segment) -> FacesArtifact:
    """See `faceflow.stages.restore`."""
    _ = identity, segment  # name the result
    done: FacesArtifact = await current_run().work(RESTORE, job=job, faces=faces)
    return done
