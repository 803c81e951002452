"""A whole job in one call and one thread: all seven stages, one segment after the other.

What `swap-video` does with a task a stage is here a plain function, for short jobs by the thousand: there a stage costs
less than an orchestrator's record of it. The bytes are the same. Files in work lie in the job's folder; of the segments
only the encoded parts stay until they are joined.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from faceflow.job import SwapJob
from faceflow.progress import SILENT, Progress
from faceflow.settings import Settings
from faceflow.stages.compose import run_compose
from faceflow.stages.identity import JobIdentity
from faceflow.stages.join import run_join
from faceflow.stages.model import Delivery, Output, ValidatedJob
from faceflow.stages.notes import notes_of
from faceflow.stages.restore import run_restore
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap
from faceflow.stages.transcode import run_transcode
from faceflow.stages.upload import run_upload
from faceflow.stages.validate import run_validate
from faceflow.store import Store

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a whole job gave.

    Attributes:
        seconds: spent in each stage, by its name.
        notes: what the user should know, each note once.
    """

    validated: ValidatedJob
    output: Output
    delivery: Delivery
    seconds: dict[str, float]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Watch:
    """Adds up what stages take."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        begun = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begun


def run_whole_job(
    job: SwapJob,
    identity: JobIdentity,
    settings: Settings,
    directory: Path,
    store: Store,
    key: str,
    progress: Progress = SILENT,
) -> Finished:
    """Swaps, and puts the result into `store` under `key`.

    Args:
        job: the request, with its engine settled (not `auto`).
        identity: the job's name and content hashes.
        settings: of this machine.
        directory: an existing folder of the job's own for files in work; the caller removes it.
        store: where the result goes.
        key: under which name.
        progress: counts frames of all stages together, and ends the job between two frames.

    Raises:
        FaceflowError: as the stages.
    """
    watch = _Watch()
    validated = watch.timed("validate", run_validate, identity, job, settings, directory, progress)
    mezzanine = watch.timed("transcode", run_transcode, job, validated, settings, directory, progress)
    plan = watch.timed("segment", run_segment, job, validated, mezzanine, settings)
    parts = []
    for segment in plan.segments:
        media = (job, validated, mezzanine)
        swapped = watch.timed("swap", run_swap, *media, plan, segment, settings, directory, progress)
        restored = watch.timed("restore", run_restore, job, swapped, settings, directory, progress)
        parts.append(watch.timed("merge", run_compose, *media, restored, settings, directory, progress))
        for faces in (swapped, restored):
            faces.file.path.unlink(missing_ok=True)
    output = watch.timed("merge", run_join, job, validated, mezzanine, parts, settings, directory, progress)
    delivery = watch.timed("upload", run_upload, job, output, store, key)
    rounded = {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()}
    return Finished(validated, output, delivery, rounded, notes_of(validated, mezzanine, output, delivery.notes))
