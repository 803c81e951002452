"""Merge as two tasks: compose pastes and encodes one segment, join puts the parts and the audio together."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.media.model import Segment
from faceflow.stages.compose import run_compose
from faceflow.stages.identity import JobIdentity
from faceflow.stages.join import run_join
from faceflow.stages.model import FacesArtifact, Mezzanine, Output, Part, ValidatedJob
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task("compose", "Pastes the faces of one segment back into its frames and encodes them.")
async def compose(
    identity: JobIdentity,
    job: SwapJob,
    validated: ValidatedJob,
    mezzanine: Mezzanine,
    faces: FacesArtifact,
    segment: Segment,
) -> Part:
    """See `faceflow.stages.compose`."""
    _ = identity, segment
    run = current_run()
    return await run.work(
        "compose", run_compose, job, validated, mezzanine, faces, run.settings, run.directory, run.progress("compose")
    )


@stage_task("join", "Joins the encoded segments without re-encoding and carries the original audio over.")
async def join(
    identity: JobIdentity, job: SwapJob, validated: ValidatedJob, mezzanine: Mezzanine, parts: tuple[Part, ...]
) -> Output:
    """See `faceflow.stages.join`."""
    _ = identity
    run = current_run()
    return await run.work(
        "join", run_join, job, validated, mezzanine, parts, run.settings, run.directory, run.progress("join")
    )
