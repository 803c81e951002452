"""A whole job in one call and one thread: all seven stages, one segment after the other.

What `swap-video` does with a task a stage is here a plain function, for short jobs by the thousand: there a stage costs
less than an orchestrator's record of it. The bytes are the same. Files in work lie in the job's folder; of the segments
only the encoded parts stay until they are joined.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceflow.job import SwapJob
from faceflow.progress import SILENT, Progress
from faceflow.settings import SwapSettings
from faceflow.stages import order
from faceflow.stages.identity import JobIdentity
from faceflow.stages.notes import notes_of
from faceflow.stages.results import Delivery, FacesArtifact, Output, ValidatedJob
from faceflow.store import Store


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
    """Runs steps and adds up what they take."""

    seconds: dict[str, float] = field(default_factory=dict)

    def done(self, step: order.Step, known: Mapping[str, Any]) -> Any:
        begun = time.monotonic()
        try:
            return step.run(known)
        finally:
            self.seconds[step.name] = self.seconds.get(step.name, 0.0) + time.monotonic() - begun


def run_whole_job(
    job: SwapJob,
    identity: JobIdentity,
    settings: SwapSettings,
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
    known: dict[str, Any] = {
        "identity": identity,
        "job": job,
        "settings": settings,
        "directory": directory,
        "store": store,
        "key": key,
        "progress": progress,
    }
    for step in order.PREPARATION:
        known[step.gives] = watch.done(step, known)
    parts = []
    for segment in known["plan"].segments:
        of_segment = {**known, "segment": segment}
        spent_files = set()
        for step in order.SEGMENT:
            made = of_segment[step.gives] = watch.done(step, of_segment)
            if isinstance(made, FacesArtifact):
                spent_files.add(made.file.path)
        parts.append(made)
        for path in spent_files:
            path.unlink(missing_ok=True)
    known["parts"] = parts
    for step in (*order.JOINING, *order.DELIVERY):
        known[step.gives] = watch.done(step, known)
    validated, output, delivery = known["validated"], known["output"], known["delivery"]
    notes = notes_of(validated, known["mezzanine"], output, delivery.notes)
    return Finished(validated, output, delivery, order.by_stage(watch.seconds), notes)
