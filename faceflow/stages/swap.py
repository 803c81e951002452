"""Swap: one decode of a segment with its context, from which every face is found, followed, smoothed and swapped.

Frames wait in a window as long as smoothing needs to look ahead (a few frames), then their faces are cropped
straight from the native planes, swapped and written to the faces file. Context frames are looked at and not written.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from faceflow.job import SwapJob
from faceflow.media.facts import Segment
from faceflow.media.native import NativeFrame
from faceflow.media.picture import read_picture
from faceflow.media.reader import FrameReader, presented_size
from faceflow.progress import Progress
from faceflow.settings import LimitSettings, SwapSettings
from faceflow.stages.artifacts import make_faces_file
from faceflow.stages.results import FacesArtifact, Mezzanine, PictureSubject, Plan, ValidatedJob, VideoSubject
from faceflow.stages.unchanged import unchanged
from faceflow.vision.casting import Casting
from faceflow.vision.face_swaps import Chosen, FaceSwaps
from faceflow.vision.faces_file import FaceFrame, FacesWriter
from faceflow.vision.gaps import MOST_FRAMES, GapFiller
from faceflow.vision.portraits import load_identity
from faceflow.vision.references import OccluderWatch, References, in_a_picture
from faceflow.vision.registry import make_analyser, make_maskers, make_restorer, make_swapper
from faceflow.vision.shapes import Analyser, Face, Identity, PictureAnalyser, Swapper
from faceflow.vision.smoothing import LandmarkSmoother
from faceflow.vision.tracks import TrackTable
from faceflow.vision.view import NativeView, PictureView


def run_swap(
    job: SwapJob,
    validated: ValidatedJob,
    mezzanine: Mezzanine,
    plan: Plan,
    segment: Segment,
    settings: SwapSettings,
    directory: Path,
    progress: Progress,
) -> FacesArtifact:
    """Swaps the faces of one segment.

    Args:
        job: engine, selection, face map.
        validated: the sources' portraits.
        mezzanine: the video, or the picture itself.
        plan: cuts, and who is where, of the whole target.
        segment: what to swap.
        settings: context, threads and limits.
        directory: where `swap-<number>.faces` is written.
        progress: advanced by one for each of the segment's own frames.

    Raises:
        JobError: `job.engine_unknown`, `job.resolution_unsupported`.
        ModelError, ModelFileError, EngineError: a network may not be used, is not there, or does not run as asked.
        FaceError: a portrait shows no usable face.
        MediaError: `media.changed`, `media.missing`: the video is not any more what was validated.
        ResourceError: `fault.disk_full`.
    """
    swapper = make_swapper(job.swap.engine, settings, job.swap)
    analyser = make_analyser(job.swap.analyser, settings, job.swap.landmarker)
    table = TrackTable.empty() if plan.tracks is None else TrackTable.load(plan.tracks.path)
    casting = Casting(job, table, plan.cast)
    identities = {
        name: _identity(swapper, analyser, name, tuple(map(_stamped, portraits)), settings.limits)
        for name, portraits in validated.sources
    }
    swaps = FaceSwaps(
        swapper,
        identities,
        make_maskers(job.swap, settings),
        make_restorer(job.swap.restorer, settings, job.swap),
        settings.engine.faces_at_once,
    )
    path = directory / f"swap-{segment.number:05d}.faces"
    description = {"engine": swapper.name, "engine_version": swapper.version, "analyser": analyser.name}
    with unchanged(mezzanine.video, mezzanine.video_sha256), FacesWriter(path, description) as writer:
        subject = mezzanine.subject
        if isinstance(subject, PictureSubject):
            picture = read_picture(mezzanine.video, settings.limits)
            colours = picture.bgr()
            looked_at = iter([(picture.frame(), in_a_picture(PictureView(colours), analyser.analyse(colours)))])
        else:
            looked_at = _followed(analyser, mezzanine.video, subject, plan, table, segment, settings)
        for frame, faces in looked_at:
            chosen = casting.choose(frame.number, faces, frame.height_px)
            for face in swaps.push(frame, chosen):
                writer.write(face)
            progress.advance()
        for face in swaps.finish():
            writer.write(face)
    return FacesArtifact(segment=segment, file=make_faces_file(path, writer.checksum), faces=writer.faces)


def swap_frame(
    frame: NativeFrame, chosen: Sequence[Chosen], swapper: Swapper, identities: Mapping[str, Identity]
) -> Iterator[FaceFrame]:
    """Crops and swaps the chosen faces of one frame; faces that show nothing are left out."""
    swaps = FaceSwaps(swapper, identities)
    yield from swaps.push(frame, chosen)
    yield from swaps.finish()


def _followed(
    analyser: Analyser,
    video: Path,
    subject: VideoSubject,
    plan: Plan,
    table: TrackTable,
    segment: Segment,
    settings: SwapSettings,
) -> Iterator[tuple[NativeFrame, list[Face]]]:
    """The segment's own frames with their smoothed faces."""
    index = subject.frame_index()
    first = segment.first - segment.context_before
    filler, smoother = GapFiller(), LandmarkSmoother(settings.pipeline.context_frames)
    # Frames before the segment set the tracker going; after it, only the smoothing and the gaps look on.
    frames = segment.context_before + segment.frames + min(segment.context_after, smoother.radius + MOST_FRAMES)
    own = range(segment.first, segment.first + segment.frames)
    cuts = frozenset(plan.cuts)
    height_px = presented_size(subject.media.video)[1]
    expected = partial(table.boxes_at, height_px=height_px) if table.tracks else None
    tracker = analyser.tracker(plan.cuts, first, expected)
    references = References() if plan.references is None else References.load(plan.references.path)
    watch = OccluderWatch(table, references, height_px)
    waiting: deque[NativeFrame] = deque()

    def ready(results: Iterator[tuple[int, list[Face]]]) -> Iterator[tuple[NativeFrame, list[Face]]]:
        for number, faces in results:
            frame = waiting.popleft()
            if number in own:
                yield frame, faces

    with FrameReader(video, subject.media, index, settings.pipeline.decode_threads) as reader:
        for frame in reader.read(first, frames, writable=False):
            waiting.append(frame)
            view = NativeView(frame)
            faces = watch.compared(frame.number, view, tracker.track(view))
            for filled in filler.push(frame.number, faces, frame.number in cuts):
                yield from ready(smoother.push(*filled))
    for filled in filler.finish():
        yield from ready(smoother.push(*filled))
    yield from ready(smoother.finish())


_Stamp = tuple[Path, int, int]
_guard = threading.Lock()


def _stamped(path: Path) -> _Stamp:
    """The path with what changes when the file does, so that a prepared identity is not used for another picture."""
    state = path.stat()
    return path, state.st_size, state.st_mtime_ns


def _identity(
    swapper: Swapper, analyser: PictureAnalyser, name: str, portraits: tuple[_Stamp, ...], limits: LimitSettings
) -> Identity:
    with _guard:  # segments start together: one prepares, the others wait and share
        return _prepared(swapper, analyser, name, portraits, limits)  # type: ignore[arg-type]  # they hash by identity


@lru_cache(maxsize=32)
def _prepared(
    swapper: Swapper, analyser: PictureAnalyser, name: str, portraits: tuple[_Stamp, ...], limits: LimitSettings
) -> Identity:
    pictures = [read_picture(path, limits).bgr() for path, _, _ in portraits]
    shown = [str(path) for path, _, _ in portraits]
    return load_identity(swapper, analyser, name, pictures, limits, shown)
