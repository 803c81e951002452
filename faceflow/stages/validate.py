"""Validate: is everything there, readable, inside the limits and consented to, and is there a face in the target?

For a video this is also where every frame is counted. One decode of the whole target gives the frame index and,
on the way, the shot cuts and the people that are seen (`census`); then it is settled who of them gets which source.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from faceflow.errors import ResourceError
from faceflow.job import SwapJob
from faceflow.locations import local_path
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.formats import NATIVE_FORMATS
from faceflow.media.side_data import LostSideData
from faceflow.progress import Progress
from faceflow.settings import SwapSettings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.cast import resolve_cast
from faceflow.stages.census import PictureCensus, detail_for, require_people, take_census
from faceflow.stages.identity import JobIdentity
from faceflow.stages.picture_notes import picture_notes
from faceflow.stages.preflight import preflight
from faceflow.stages.results import PictureSubject, ValidatedJob, VideoSubject
from faceflow.trust.consent import require_consent
from faceflow.vision.references import ReferenceCollector


def run_validate(
    identity: JobIdentity, job: SwapJob, settings: SwapSettings, directory: Path, progress: Progress
) -> ValidatedJob:
    """Checks the whole job and describes its inputs.

    Args:
        identity: the job's name and content hashes.
        job: the request.
        settings: limits, and what counts as consent.
        directory: the job's scratch folder, where the frame index is written.
        progress: told about every frame of the target.

    Raises:
        InputError: anything that is not usable, with its own code and what to do.
        ResourceError: `fault.disk_full`, before any work is done.
    """
    target = local_path(job.target)
    described, _portraits = preflight(job, settings)
    _require_room(directory, settings)
    collector = ReferenceCollector()
    lost = LostSideData()
    census = take_census(
        target, described, detail_for(job), settings, progress=progress, observers=[collector], on_frame=lost.see
    )
    subject: PictureSubject | VideoSubject
    if isinstance(census, PictureCensus):
        subject = PictureSubject()
        notes = picture_notes(census.picture, job, settings)
    else:
        path = directory / "target.index.npz"
        census.index.save(path)
        subject = VideoSubject(media=census.media, index=make_artifact(path), frames=census.index.frames)
        notes = (*_notes(census.index), *_of_a_layer(census.media), *lost.notes())
    require_people(census, target)
    tracks = directory / "target.tracks.npz"
    census.table.save(tracks)
    references = directory / "target.references.npz"
    collector.references().save(references)
    return ValidatedJob(
        job_id=identity.job_id,
        target=target,
        target_sha256=identity.target_sha256,
        subject=subject,
        sources=tuple((source.name, tuple(map(local_path, source.portraits))) for source in job.sources),
        people=census.people,
        tracks=make_artifact(tracks),
        references=make_artifact(references),
        cast=resolve_cast(job, census, settings),
        cuts=census.cuts,
        consent=require_consent(job, settings.trust),
        notes=(*notes, *_unenforced(job)),
    )


def _unenforced(job: SwapJob) -> tuple[str, ...]:
    """Wishes that are kept with the job, but that nothing on a single machine acts on."""
    wishes = [name for name in ("budget", "deadline") if getattr(job, name) is not None]
    return (f"{' and '.join(wishes)} of the job: recorded, but not enforced on a single machine",) if wishes else ()


def _require_room(directory: Path, settings: SwapSettings) -> None:
    free = shutil.disk_usage(directory).free
    if free < settings.pipeline.keep_free_bytes:
        raise ResourceError(
            "fault.disk_full",
            f"Only {free // 2**20} MiB are free in the working folder ({directory}).",
            "Free some space, or set FACEFLOW_PATHS__SCRATCH to a larger disk, and run the same command again.",
            free_bytes=free,
        )


def _of_a_layer(media: MediaInfo) -> tuple[str, ...]:
    """Of transparency in its own layer, which the decoder leaves out; that of a format is told by normalising."""
    hidden = media.video.transparent and media.video.pixel_format in NATIVE_FORMATS
    return ("the transparency of the video was dropped",) if hidden else ()


def _notes(index: FrameIndex) -> tuple[str, ...]:
    words = {
        "discarded": (
            "frame that the file hides was left out",
            "frames that the file hides were left out",
        ),
        "undecodable": ("frame that cannot be decoded was left out", "frames that cannot be decoded were left out"),
        "before_first_key": (
            "frame before the first key frame was left out",
            "frames before the first key frame were left out",
        ),
        "without_picture": (
            "video packet without a frame was left out",
            "video packets without a frame were left out",
        ),
        "concealed": (
            "damaged frame is shown as the decoder repaired it",
            "damaged frames are shown as the decoder repaired them",
        ),
    }
    return tuple(f"{count} {words.get(name, (name, name))[count != 1]}" for name, count in index.left_out.items())
