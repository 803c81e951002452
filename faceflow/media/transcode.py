"""Normalises a video at the entrance, once and only where it has to be: the mezzanine.

It has to be where the picture is larger than wanted, interlaced, damaged, in a pixel format that the encoders
do not take, or in a container in which single frames cannot be found again. Frame by frame through PyAV rather
than by one ffmpeg command: the index was made with this decoder, so frame i here is frame i there, whereas the
command line has another FFmpeg version with its own idea of damaged packets, and its frame-rate and timestamp
options round. So every picture keeps the exact time of the index whatever the filters do to it, and the written
file is indexed again and compared.

The mezzanine is upright and has no sound; sound is always copied from the input.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import av.filter
import numpy as np
from av.video.frame import VideoFrame

from faceflow.errors import ExactnessError
from faceflow.job import OutputOptions, SpeedPreset
from faceflow.media.conversion import (
    Step,
    conversion_losses,
    conversion_steps,
    converted_colour,
    filter_graph,
    hide_strange_matrix,
    planar_rgb_steps,
)
from faceflow.media.facts import FrameIndex, MediaInfo, VideoInfo
from faceflow.media.formats import NATIVE_FORMATS, mezzanine_format, samples_of
from faceflow.media.index import index_frames
from faceflow.media.opening import SEEKABLE_CONTAINERS, container_family
from faceflow.media.planes import native_frame, presented_size
from faceflow.media.probe import probe
from faceflow.media.reader import read_decoded
from faceflow.media.writer import PartWriter
from faceflow.progress import SILENT, Progress
from faceflow.setting_group import LONGEST_S
from faceflow.settings import EncodeSettings, LimitSettings

_CRF = 23
_PRESET = SpeedPreset.FAST
_ANY_SIZE = LimitSettings(
    max_size_bytes=2**62, max_duration_s=LONGEST_S, max_frames=2**62, max_side_px=16384, min_side_px=1
)


def transcode_reasons(media: MediaInfo, index: FrameIndex, encoding: OutputOptions) -> tuple[str, ...]:
    """What normalising does to a video, and why, in words for the user's note; empty where it fits as it is."""
    video = media.video
    long_side = max(presented_size(video))
    family = container_family(media.container)
    sideways = video.rotation_degrees in {90, 270}
    reasons = []
    if long_side > encoding.max_long_side_px:
        reasons.append(f"its longer side of {long_side} pixels was scaled to {max(_scaled_size(media, encoding))}")
    if video.interlaced:
        reasons.append("it was deinterlaced, keeping the number of frames")
    elif index.interlaced:
        reasons.append(f"its {index.interlaced} interlaced frames were deinterlaced, keeping the number of frames")
    target = mezzanine_format(video.pixel_format, sideways=sideways)
    losses = conversion_losses(video.pixel_format, target, video.colour)
    if video.pixel_format not in NATIVE_FORMATS:
        reasons += [f"its pixel format {video.pixel_format} was converted to {target}", *losses]
        if video.transparent:
            reasons.append("its transparency was dropped")
    elif target != video.pixel_format:
        reasons += [f"{loss}, because it lies on its side" for loss in losses]
    if family not in SEEKABLE_CONTAINERS:
        reasons.append(f"it was re-encoded, because single frames cannot be located in {family} files")
    if index.left_out.get("undecodable") or index.left_out.get("concealed"):
        reasons.append("its damaged frames were encoded as the decoder repaired them")
    return tuple(reasons)


def transcode(
    source: Path,
    media: MediaInfo,
    index: FrameIndex,
    encoding: OutputOptions,
    encode: EncodeSettings,
    destination: Path,
    *,
    progress: Progress = SILENT,
) -> tuple[MediaInfo, FrameIndex]:
    """Writes the mezzanine: H.264 (8 bit) or HEVC (10 bit), CRF 23, preset fast, upright, progressive, without sound.

    Args:
        source: the input.
        media: what `probe` found of it.
        index: its frames.
        encoding: the longest side, pixels.
        encode: threads of the encoders.
        destination: an MP4 file.
        progress: advanced by one a frame.

    Returns:
        Media info and frame index of the mezzanine. Key flags differ from the input's; every time is equal.

    Raises:
        ExactnessError: `fault.exactness`, a frame or a time did not survive.
        ResourceError: `fault.disk_full`.
        CancelledError: the run was told to stop.
    """
    width, height = _scaled_size(media, encoding)
    sideways = media.video.rotation_degrees in {90, 270}
    target_format = mezzanine_format(media.video.pixel_format, sideways=sideways)
    target = _described(media, width, height, target_format)
    quality = encoding.model_copy(update={"crf": _CRF, "preset": _PRESET})
    filters = _Filters(media.video.interlaced or index.interlaced > 0, media, target)
    written = 0
    with PartWriter(destination, target, index, quality, encode) as writer:
        for frame in _filtered(filters, source, media, index):
            if written >= index.frames:
                raise _lost(source, written + 1, index.frames)
            shown = native_frame(frame, written, int(index.pts[written]), target.video, writable=False)
            writer.write(shown)
            written += 1
            progress.advance()
        if written != index.frames:
            raise _lost(source, written, index.frames)
    mezzanine = probe(destination, _ANY_SIZE)
    mezzanine_index = index_frames(destination, mezzanine, _ANY_SIZE)
    _check_times(source, index, mezzanine_index)
    return mezzanine, mezzanine_index


def _scaled_size(media: MediaInfo, encoding: OutputOptions) -> tuple[int, int]:
    """Size of the picture as coded (not turned) within the limit; both sides even where anything is scaled."""
    width, height = media.video.coded_width_px, media.video.coded_height_px
    limit = encoding.max_long_side_px
    if max(presented_size(media.video)) <= limit:
        return width, height
    scale = limit / max(width, height)
    return max(2, 2 * int(width * scale / 2)), max(2, 2 * int(height * scale / 2))


def _described(media: MediaInfo, width: int, height: int, pixel_format: str) -> MediaInfo:
    """`media` as the pictures will be after the filters and before they are turned."""
    video = media.video
    # Scaling to whole even pixels changes the proportions a little; the sample aspect ratio takes that back.
    upright = (height, width) if video.rotation_degrees in {90, 270} else (width, height)
    stretch_x = video.width_px * upright[1]
    stretch_y = video.height_px * upright[0]
    ratio = video.sample_aspect_ratio * stretch_x / stretch_y
    return media.model_copy(
        update={
            "video": video.model_copy(
                update={
                    "coded_width_px": width,
                    "coded_height_px": height,
                    "width_px": upright[0],
                    "height_px": upright[1],
                    "pixel_format": pixel_format,
                    "bit_depth": samples_of(pixel_format).bits,
                    "sample_aspect_ratio": ratio.limit_denominator(1000),
                    "colour": converted_colour(video.pixel_format, pixel_format, video.colour),
                    "interlaced": False,
                }
            )
        }
    )


class _Filters:
    """Deinterlaces, scales and converts; gives one frame for every frame that it takes."""

    def __init__(self, deinterlace: bool, media: MediaInfo, target: MediaInfo) -> None:
        self._steps = _steps(deinterlace, media.video, target.video)
        self._graph: av.filter.Graph | None = None

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Yields the frames that are ready; None at the end flushes."""
        if not self._steps:
            if frame is not None:
                yield frame
            return
        if self._graph is None:
            if frame is None:
                return
            self._graph = filter_graph(frame, self._steps)
        self._graph.push(frame)
        while True:
            try:
                ready = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if isinstance(ready, VideoFrame):
                yield ready


def _steps(deinterlace: bool, video: VideoInfo, target: VideoInfo) -> list[Step]:
    """What makes the pictures of `video` those of `target`, both as coded."""
    steps: list[Step] = []
    source, wanted = video.pixel_format, target.pixel_format
    if deinterlace:
        if samples_of(source).kind == "rgb":
            steps, source = planar_rgb_steps(source)
        # One frame a frame, the field order as each frame states it, frames marked progressive left alone.
        steps.append(("bwdif", "mode=send_frame:parity=auto:deint=interlaced"))
    size = (target.coded_width_px, target.coded_height_px)
    if size != (video.coded_width_px, video.coded_height_px) or source != wanted:
        steps += conversion_steps(source, wanted, target.colour, size)
    return steps


def _filtered(filters: _Filters, source: Path, media: MediaInfo, index: FrameIndex) -> Iterator[VideoFrame]:
    for number, frame in read_decoded(source, media, index, 0, index.frames):
        frame.pts = number  # filters only need an order; the real times come from the index
        frame.time_base = Fraction(1)
        hide_strange_matrix(frame)
        yield from filters.push(frame)
    yield from filters.push(None)


def _lost(source: Path, written: int, wanted: int) -> ExactnessError:
    return ExactnessError(
        "fault.exactness",
        f"Normalising {source} produced {written} frames instead of {wanted}.",
        "This is a bug in faceflow; please report it with the log.",
    )


def _check_times(source: Path, index: FrameIndex, mezzanine: FrameIndex) -> None:
    ratio = index.time_base / mezzanine.time_base
    same = mezzanine.frames == index.frames and np.array_equal(
        mezzanine.pts * ratio.denominator, index.pts * ratio.numerator
    )
    if not same:
        raise ExactnessError(
            "fault.exactness",
            f"Normalising {source} did not keep the time of every frame.",
            "This is a bug in faceflow; please report it with the log.",
        )
