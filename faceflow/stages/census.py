"""The census: who is in a target, and where. One decode that counts the frames and looks at some of them on the way.

Validate takes it for every job; `faceflow faces` takes it to show the people, before there is a job. Both number people
alike as long as they ask for the same detail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import overload

from av.video.frame import VideoFrame

from faceflow.errors import FaceError
from faceflow.job import Selection, SwapJob
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.index import index_frames
from faceflow.media.picture import PictureFile
from faceflow.media.thumbnail import luma_thumbnail
from faceflow.progress import SILENT, Progress
from faceflow.settings import SwapSettings
from faceflow.vision.analyser_networks import EMBEDDED_ANALYSER
from faceflow.vision.embedded_analyser import OVERVIEW_PX as PICTURE_OVERVIEW_PX
from faceflow.vision.person import Person
from faceflow.vision.registry import make_analyser, make_recogniser, make_traits_estimator
from faceflow.vision.scan import CALM, CLOSE, Observer, TargetScan
from faceflow.vision.tracks import TrackTable
from faceflow.vision.traits import TraitsCollector
from faceflow.vision.view import DecodedView, PictureView

OnFrame = Callable[[int, VideoFrame], None]
_DECODE_THREADS = 2


class Detail(Enum):
    """How closely the target is looked at, as little as the job needs."""

    SEEN = "seen"
    """All faces are treated alike: it is enough to know that there are some."""
    FOLLOWED = "followed"
    """It matters which face of a shot is which: faces are followed between the searches."""
    TOLD_APART = "told apart"
    """It matters who is who in the whole target: people are told apart, where a recogniser is installed."""


@dataclass(frozen=True, slots=True)
class Scrutiny:
    """What a job wants to know of the faces in its target, and by which analyser.

    Attributes:
        detail: how closely to look.
        analyser: name of the analyser.
        traits: whether gender and age are asked for.
    """

    detail: Detail
    analyser: str = EMBEDDED_ANALYSER
    traits: bool = False


def detail_for(job: SwapJob) -> Scrutiny:
    """How closely a job's target must be looked at: no more than the job needs, because every network costs."""
    alike = job.swap.selection is Selection.ALL and not job.swap.asks_traits
    detail = Detail.TOLD_APART if job.maps_people else Detail.SEEN if alike else Detail.FOLLOWED
    return Scrutiny(detail, job.swap.analyser, job.swap.asks_traits)


@dataclass(frozen=True, slots=True)
class Census:
    """Who is in a target; `told_apart` says whether a recogniser took part."""

    people: tuple[Person, ...]
    table: TrackTable
    cuts: tuple[int, ...]
    told_apart: bool


@dataclass(frozen=True, slots=True)
class PictureCensus(Census):
    """Who is in a picture."""

    picture: PictureFile


@dataclass(frozen=True, slots=True)
class VideoCensus(Census):
    """Who is in a video, and its frames, which were counted on the way."""

    media: MediaInfo
    index: FrameIndex


@overload
def take_census(
    target: Path,
    described: PictureFile,
    scrutiny: Scrutiny | Detail,
    settings: SwapSettings,
    *,
    progress: Progress = ...,
    observers: Sequence[Observer] = ...,
    on_frame: OnFrame | None = ...,
) -> PictureCensus: ...


@overload
def take_census(
    target: Path,
    described: MediaInfo,
    scrutiny: Scrutiny | Detail,
    settings: SwapSettings,
    *,
    progress: Progress = ...,
    observers: Sequence[Observer] = ...,
    on_frame: OnFrame | None = ...,
) -> VideoCensus: ...


def take_census(
    target: Path,
    described: MediaInfo | PictureFile,
    scrutiny: Scrutiny | Detail,
    settings: SwapSettings,
    *,
    progress: Progress = SILENT,
    observers: Sequence[Observer] = (),
    on_frame: OnFrame | None = None,
) -> PictureCensus | VideoCensus:
    """Counts the frames of a target and finds its people.

    Args:
        target: the file.
        described: what it is.
        scrutiny: how closely to look, and by which analyser.
        settings: limits, threads, and where networks lie.
        progress: advanced by one a frame.
        observers: are shown what the scan sees.
        on_frame: is shown every decoded frame of a video, with its number.

    Raises:
        MediaError: see `index_frames`.
        ModelError, ModelFileError, EngineError: a network may not be used, is not there, or does not run as asked.
        CancelledError: the run was told to stop.
    """
    wanted = scrutiny if isinstance(scrutiny, Scrutiny) else Scrutiny(scrutiny)
    analyser = make_analyser(wanted.analyser, settings)
    recogniser = make_recogniser(wanted.analyser, settings) if wanted.detail is Detail.TOLD_APART else None
    collector = TraitsCollector(make_traits_estimator(settings)) if wanted.traits else None
    observers = observers if collector is None else [*observers, collector]
    told_apart = recogniser is not None

    def table_of(scan: TargetScan) -> TrackTable:
        return scan.table if collector is None else collector.added_to(scan.table, told_apart=told_apart)

    if isinstance(described, PictureFile):
        scan = TargetScan(analyser, recogniser, observers=observers, overview_px=PICTURE_OVERVIEW_PX)
        if scan.wants(0, 0.0):
            scan.see(0, 0.0, PictureView(described.bgr()))
        progress.advance()
        scan.finish()
        return PictureCensus(scan.people, table_of(scan), scan.cuts, told_apart, described)
    pace = CALM if wanted.detail is Detail.SEEN else CLOSE
    scan = TargetScan(analyser, recogniser, pace=pace, observers=observers)
    index = index_frames(
        target,
        described,
        settings.limits,
        on_frame=_seeing(scan, described, on_frame),
        progress=progress,
        # Nothing else of the job runs yet: while a frame is looked at, the next ones are decoded.
        decode_threads=max(settings.pipeline.decode_threads, _DECODE_THREADS),
    )
    scan.finish()
    return VideoCensus(scan.people, table_of(scan), scan.cuts, told_apart, described, index)


def require_people(census: Census, target: Path) -> None:
    """Raises `FaceError` `face.none_in_target` where nobody was found."""
    if not census.people:
        raise FaceError(
            "face.none_in_target",
            f"No face was found in {str(target)!r}.",
            "Choose a target that shows a face from the front or the side, at least about 30 pixels high.",
        )


def _seeing(scan: TargetScan, media: MediaInfo, also: OnFrame | None) -> OnFrame:
    rate = float(media.video.average_rate or 25)

    def see(number: int, frame: VideoFrame) -> None:
        # Some containers give no times; for spacing the looks, about is good enough.
        time_s = number / rate if frame.pts is None else float(frame.pts * media.video.time_base)
        scan.thumbnail(number, luma_thumbnail(frame))
        if scan.wants(number, time_s):
            scan.see(number, time_s, DecodedView(frame, media.video))
        if also is not None:
            also(number, frame)

    return see
