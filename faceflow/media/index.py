"""The frame index: every frame that the decoder shows, with its exact time. Later stages compare with nothing else.

It is made by decoding, not from packets: edit lists hide packets, a late first key frame makes the first ones
unusable, damaged ones give no picture. The whole file is decoded once here, and whoever needs to look at every
frame (the scan for cuts and faces) looks during this decode. Only the smoothing of block edges is left out where no
other frame is predicted from the result: a look does not need it, and it is a quarter of the work.

Rules for files that are not as they should be:

- A timestamp per frame that strictly increases is taken as it is. Where a container has no presentation times
  (AVI, some old MKV), frame i is shown at the i-th packet's time, provided that every packet gave exactly one
  frame; anything else is `media.timestamps`, because a guess would move the picture against the sound.
- Up to one packet in twenty may be unreadable or concealed: reported in `left_out`. Beyond that the file is
  `media.corrupt`.
- A container that cannot be read to its end, or whose picture ends more than a tenth and more than a second
  before the time that its own track states, is `media.truncated`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from faceflow.errors import MediaError
from faceflow.media.clock import refused_times
from faceflow.media.decoding import Tally, decode_stream
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.opening import (
    SEEKABLE_CONTAINERS,
    container_family,
    decoder_pixels,
    is_of_the_disk,
    open_media,
    prepare_decoder,
    unreadable,
)
from faceflow.media.refusals import corrupt, too_many_frames, truncated
from faceflow.media.steadiness import SteadyPicture
from faceflow.progress import SILENT, Progress
from faceflow.settings import LimitSettings

TOLERABLE_DAMAGE = Fraction(1, 20)
"""Largest share of a track's packets that may be unreadable or concealed."""

_TRUNCATED_SHARE = Fraction(1, 10)
_TRUNCATED_S = 1


def index_frames(
    path: Path,
    info: MediaInfo,
    limits: LimitSettings,
    *,
    on_frame: Callable[[int, VideoFrame], None] | None = None,
    progress: Progress = SILENT,
    decode_threads: int = 1,
) -> FrameIndex:
    """Decodes the whole video track once and notes every frame's time.

    Args:
        path: the file that `info` describes.
        info: what `probe` found.
        limits: most frames, largest picture.
        on_frame: called with the number and the decoded frame (as coded, not turned), in order.
        progress: advanced by one a frame.
        decode_threads: threads of the decoder; does not change the pictures.

    Raises:
        MediaError: `media.truncated`, `.corrupt`, `.too_long`, `.timestamps`, `.size_changes`,
            `.picture_changes`, `.unreadable`.
        CancelledError: the run was told to stop.
    """
    max_pixels = decoder_pixels(limits.max_side_px)
    tally = Tally()
    steady = SteadyPicture(path, info)
    slots: list[int] = []
    pts: list[int | None] = []
    durations: list[int] = []
    keys: list[bool] = []
    try:
        with open_media(path, max_pixels=max_pixels) as container:
            stream = container.streams[info.video.stream_index]
            if not isinstance(stream, VideoStream):
                raise corrupt(path, "its tracks changed while it was being read")
            prepare_decoder(stream, max_pixels=max_pixels, threads=decode_threads, finish_all=False)
            stated_s = _stated_end_s(stream)
            context = stream.codec_context
            for number, frame in enumerate(decode_stream(container, stream, tally, slots)):
                if number >= limits.max_frames:
                    raise too_many_frames(path, limits)
                steady.check(number, frame, context)
                pts.append(frame.pts)
                durations.append(frame.duration or 0)
                keys.append(frame.key_frame)
                if on_frame is not None:
                    on_frame(number, frame)
                progress.advance()
    except av.error.FFmpegError as error:
        if is_of_the_disk(error):
            raise unreadable(path, error) from error
        raise corrupt(path, error.strerror or str(error)) from error
    _check_damage(path, tally)
    times = _times(path, pts, slots, tally, exact=container_family(info.container) in SEEKABLE_CONTAINERS)
    index = FrameIndex(
        pts=times,
        durations=_durations(times, durations[-1], info),
        key=np.array(keys, np.bool_),
        time_base=info.video.time_base,
        left_out=_left_out(tally),
        interlaced=steady.interlaced,
    )
    _check_start_and_length(path, container_family(info.container), index, limits)
    if not tally.discarded:  # else an edit list may end the picture early
        _check_end(path, index, stated_s)
    return index


def _stated_end_s(stream: VideoStream) -> Fraction | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return (stream.duration + (stream.start_time or 0)) * stream.time_base


def _check_damage(path: Path, tally: Tally) -> None:
    if tally.cut_short is not None:
        raise truncated(path, f"reading stopped after {tally.frames} frames ({tally.cut_short})")
    if tally.frames == 0:
        raise corrupt(path, "no picture can be decoded")
    damaged = tally.undecodable + tally.concealed
    if damaged > 1 and damaged > TOLERABLE_DAMAGE * (tally.packets + tally.discarded):
        raise corrupt(path, f"{damaged} of {tally.packets} pictures are damaged")


def _left_out(tally: Tally) -> dict[str, int]:
    silent = tally.packets - tally.frames - tally.undecodable - tally.before_first_key
    counts = {
        "discarded": tally.discarded,
        "undecodable": tally.undecodable,
        "before_first_key": tally.before_first_key,
        "without_picture": max(0, silent),
        "concealed": tally.concealed,
    }
    return {name: count for name, count in counts.items() if count}


def _times(path: Path, pts: list[int | None], slots: list[int], tally: Tally, *, exact: bool) -> NDArray[np.int64]:
    if all(value is not None for value in pts):
        times = np.array(pts, np.int64)
        if bool(np.all(np.diff(times) > 0)):
            return times
    without_times = not exact or all(value is None for value in pts)
    if without_times and len(slots) == tally.packets == len(pts):
        times = np.array(slots, np.int64)  # in the order of the file: sorted, a clock that jumps back would mix them
        if bool(np.all(np.diff(times) > 0)):
            return times
    raise _bad_times(path, "are missing, repeated or run backwards")


def _durations(times: NDArray[np.int64], last: int, info: MediaInfo) -> NDArray[np.int64]:
    if last <= 0 and len(times) > 1:
        last = int(np.median(np.diff(times)))
    elif last <= 0 and info.video.average_rate:
        last = round(1 / (info.video.average_rate * info.video.time_base))
    return np.append(np.diff(times), max(1, last)).astype(np.int64)


def _check_start_and_length(path: Path, family: str, index: FrameIndex, limits: LimitSettings) -> None:
    if index.pts[0] < 0:
        raise _bad_times(path, "begin before zero")
    length_s = float(index.time_s(index.frames - 1) - index.time_s(0))
    if length_s > limits.max_duration_s:
        times_s = (float(index.time_s(number)) for number in range(index.frames))
        raise refused_times(path, family, times_s, limits)


def _bad_times(path: Path, what: str) -> MediaError:
    return MediaError(
        "media.timestamps",
        f"The frame times of {path} are ambiguous: some {what}.",
        "Convert the file once with a video converter, so that every frame gets its own time.",
    )


def _check_end(path: Path, index: FrameIndex, stated_s: Fraction | None) -> None:
    if stated_s is None:
        return
    seen_s = (int(index.pts[-1]) + int(index.durations[-1])) * index.time_base
    missing_s = stated_s - seen_s
    if missing_s > _TRUNCATED_S and missing_s > _TRUNCATED_SHARE * stated_s:
        raise truncated(
            path, f"its picture ends {float(missing_s):.1f} s before the {float(stated_s):.1f} s stated in its header"
        )
