"""The join stage: the encoded parts become one file with the input's sound beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from faceflow.job import SwapJob
from faceflow.media.join import join
from faceflow.progress import Progress
from faceflow.settings import SwapSettings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.place import place_note
from faceflow.stages.results import Mezzanine, Output, Part, PictureSubject, ValidatedJob
from faceflow.stages.unchanged import unchanged


def run_join(
    job: SwapJob,
    validated: ValidatedJob,
    mezzanine: Mezzanine,
    parts: Sequence[Part],
    settings: SwapSettings,
    directory: Path,
    progress: Progress,
) -> Output:
    """Joins the parts in the order of their segments.

    Args:
        job: the output's name, whose ending chooses the container.
        validated: the input, from which sound, subtitles and tags are copied.
        mezzanine: the frames' times.
        parts: one of every segment, in any order.
        settings: whether the place where the target was taken is carried.
        directory: the job's scratch folder; the result is `output` with the job's ending in it.
        progress: advanced by one a frame.

    Returns:
        The finished file with notes on what could not be carried. A picture's only part is passed on as it is.

    Raises:
        MediaError: `media.changed`, `media.missing`: the input is not any more what was validated.
        OutputError, ResourceError, ExactnessError, CancelledError: see `faceflow.media.join`.
    """
    ordered = sorted(parts, key=lambda part: part.segment.number)
    faces = sum(part.faces for part in ordered)
    source, subject = validated.subject, mezzanine.subject
    if isinstance(source, PictureSubject) or isinstance(subject, PictureSubject):
        return Output(file=ordered[0].file, frames=1, faces=faces)
    index = subject.frame_index()
    destination = directory / f"output{PurePosixPath(job.output).suffix.lower()}"
    files = [part.file.path for part in ordered]
    note = place_note(job, settings.trust)
    with unchanged(validated.target, validated.target_sha256):
        notes = join(files, validated.target, source.media, index, destination, place_note=note, progress=progress)
    return Output(file=make_artifact(destination), frames=index.frames, faces=faces, notes=notes)
