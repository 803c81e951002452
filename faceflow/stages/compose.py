"""Compose: decodes one segment again, pastes the faces into their rectangles, and encodes the part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faceflow.errors import FaultError
from faceflow.job import SwapJob
from faceflow.locations import name_of
from faceflow.media.picture import read_picture, write_picture
from faceflow.media.picture_exif import without_place
from faceflow.media.reader import FrameReader
from faceflow.media.writer import PartWriter
from faceflow.progress import Progress
from faceflow.settings import SwapSettings
from faceflow.stages.artifacts import make_artifact
from faceflow.stages.place import carries_place
from faceflow.stages.results import FacesArtifact, Mezzanine, Part, PictureSubject
from faceflow.stages.unchanged import unchanged
from faceflow.vision.compose_frame import compose_frame
from faceflow.vision.faces_file import FaceFrame, FacesReader
from faceflow.vision.shipped_models import release_idle


def run_compose(
    job: SwapJob,
    mezzanine: Mezzanine,
    faces: FacesArtifact,
    settings: SwapSettings,
    directory: Path,
    progress: Progress,
) -> Part:
    """Makes the part of one segment.

    Args:
        job: encoding; the output's ending when the target is a picture.
        mezzanine: the video, or the picture itself.
        faces: what to paste.
        settings: threads, limits, and whether the place where a picture was taken is carried.
        directory: where `part-<number>.mp4` is written (a picture: with the output's ending).
        progress: advanced by one a frame.

    Raises:
        FaultError: the faces file is missing, damaged, or names frames that are not the segment's.
        MediaError: `media.changed`, `media.missing`: the video is not any more what was validated.
        ResourceError: `fault.disk_full`.
    """
    segment, subject = faces.segment, mezzanine.subject
    release_idle()  # nothing is looked for here, and encoders need much room
    with unchanged(mezzanine.video, mezzanine.video_sha256), FacesReader(faces.file.path) as reader:
        waiting = _Waiting(reader.by_frame())
        if isinstance(subject, PictureSubject):
            path = directory / f"part-{segment.number:05d}{Path(name_of(job.output)).suffix.lower()}"
            picture = read_picture(mezzanine.video, settings.limits)
            if not carries_place(job, settings.trust):
                picture = replace(picture, exif=without_place(picture.exif))
            frame = picture.frame()
            compose_frame(frame, waiting.of(0))
            write_picture(picture, frame, path)
            progress.advance()
        else:
            path = directory / f"part-{segment.number:05d}.mp4"
            index = subject.frame_index()
            threads = settings.pipeline.decode_threads
            with (
                FrameReader(mezzanine.video, subject.media, index, threads) as frames,
                PartWriter(path, subject.media, index, job.encoding, settings.encode) as writer,
            ):
                for frame in frames.read(segment.first, segment.frames):
                    compose_frame(frame, waiting.of(frame.number))
                    writer.write(frame)
                    progress.advance()
                waiting.must_be_empty()
        waiting.must_be_empty()
    return Part(segment=segment, file=make_artifact(path), faces=faces.faces)


class _Waiting:
    """Hands out the faces of rising frame numbers from a faces file; none is left behind unseen."""

    def __init__(self, groups: Iterator[tuple[int, list[FaceFrame]]]) -> None:
        self._groups = groups
        self._next = next(groups, None)

    def of(self, number: int) -> list[FaceFrame]:
        if self._next is None or self._next[0] > number:
            return []
        if self._next[0] < number:
            raise self._stray()
        found = self._next[1]
        self._next = next(self._groups, None)
        return found

    def must_be_empty(self) -> None:
        if self._next is not None:
            raise self._stray()

    def _stray(self) -> FaultError:
        number = self._next[0] if self._next is not None else -1
        return FaultError(
            "fault.faces_file_corrupt",
            f"The faces file contains a face of frame {number}, which is not in its segment.",
            "Run the same command again; the segment is rendered again.",
        )
