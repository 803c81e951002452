"""The transcode stage: the input itself where it fits, else a normalised copy of its picture."""

from __future__ import annotations

from pathlib import Path

from faceflow.job import SwapJob
from faceflow.media.transcode import transcode, transcode_reasons
from faceflow.progress import Progress
from faceflow.publish import output_error, sha256_of
from faceflow.settings import SwapSettings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.results import Mezzanine, PictureSubject, ValidatedJob, VideoSubject
from faceflow.stages.unchanged import unchanged


def run_transcode(
    job: SwapJob, validated: ValidatedJob, settings: SwapSettings, directory: Path, progress: Progress
) -> Mezzanine:
    """Gives the video that swap and compose read.

    Args:
        job: the longest side.
        validated: the input and its frames.
        settings: encoder threads.
        directory: the job's scratch folder; a normalised copy is written to `mezzanine.mp4` in it.
        progress: advanced by one a frame where the input is normalised.

    Raises:
        MediaError: `media.changed`, `media.missing`: the input is not any more what was validated.
        ExactnessError, ResourceError, CancelledError: see `faceflow.media.transcode`.
    """
    as_it_is = Mezzanine(
        video=validated.target,
        video_sha256=validated.target_sha256,
        subject=validated.subject,
    )
    subject = validated.subject
    if isinstance(subject, PictureSubject):
        return as_it_is
    index = subject.frame_index()
    reasons = transcode_reasons(subject.media, index, job.encoding)
    if not reasons:
        return as_it_is
    video = directory / "mezzanine.mp4"
    with unchanged(validated.target, validated.target_sha256):
        media, mezzanine_index = transcode(
            validated.target, subject.media, index, job.encoding, settings.encode, video, progress=progress
        )
    index_path = directory / "mezzanine.index.npz"
    try:
        mezzanine_index.save(index_path)
    except OSError as error:
        raise output_error(error, index_path) from error
    return Mezzanine(
        video=video,
        video_sha256=sha256_of(video),
        subject=VideoSubject(media=media, index=make_artifact(index_path), frames=mezzanine_index.frames),
        transcoded=reasons,
    )
