"""What a caller may know of the media, and the facts of a request for `decide`."""

from __future__ import annotations

import hashlib
import json

from pydantic import ConfigDict, Field

from faceflow.infrastructure.routing.snapshot import JobFacts, JobProgress
from faceflow.job import FrozenModel, SwapJob


class KnownMedia(FrozenModel):
    """What is known of the target without opening it. For missing facts the decision assumes the worst case."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="What is known")

    labels: dict[str, str] = Field(
        default={}, title="Labels", description="Names and values that rules can match, such as kind: campaign."
    )
    frames: int = Field(default=0, ge=0, le=10**8, title="Frames", description="0: not known.")
    duration_s: float = Field(default=0.0, ge=0, le=10**7, title="Duration (seconds)", description="0: not known.")
    width: int = Field(default=0, ge=0, le=65536, title="Width (pixels)", description="0: not known.")
    height: int = Field(default=0, ge=0, le=65536, title="Height (pixels)", description="0: not known.")
    faces: int = Field(default=0, ge=0, le=10_000, title="Faces in a frame", description="0: not known.")


def request_id(job: SwapJob) -> str:
    """The name of a request whose caller gave none: made of everything that it says.

    The dispatcher never opens media, so unlike the job id of `swap-video` it does not depend on their content.
    """
    text = json.dumps(job.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def facts_of(job: SwapJob, name: str, attempt: int, known: KnownMedia, progress: JobProgress | None) -> JobFacts:
    """The facts of a request for its attempt number `attempt`."""
    figures = known.model_dump(exclude={"labels"})
    given = {figure: value for figure, value in figures.items() if value}
    return JobFacts.of(job, name, attempt=attempt, labels=known.labels, progress=progress, **given)
