"""Merge as two tasks: compose pastes and encodes one segment, join puts the parts and the audio together."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.media.facts import Segment
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import COMPOSE, JOIN
from faceflow.stages.results import FacesArtifact, Mezzanine, Output, Part, ValidatedJob
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(COMPOSE.name, "Pastes the faces of one segment back into its frames and encodes them.")
async def compose(
    identity: JobIdentity, job: SwapJob, mezzanine: Mezzanine, faces: FacesArtifact, segment: Segment
) -> Part:
    """See `faceflow.stages.compose`."""
    _ = identity, segment
    done: Part = await current_run().work(COMPOSE, job=job, mezzanine=mezzanine, faces=faces)
    return done


@stage_task(JOIN.name, "Joins the encoded segments without re-encoding and carries the original audio over.")
async def join(
    identity: JobIdentity, job: SwapJob, validated: ValidatedJob, mezzanine: Mezzanine, parts: tuple[Part, ...]
) -> Output:
    """See `faceflow.stages.join`."""
    _ = identity
    done: Output = await current_run().work(JOIN, job=job, validated=validated, mezzanine=mezzanine, parts=parts)
    return done
