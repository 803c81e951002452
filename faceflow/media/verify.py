"""Reads a finished file once more and compares every frame's time with what was to be written, tick by tick."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import ExactnessError
from faceflow.media.containers import OutputContainer, written_times
from faceflow.media.facts import FrameIndex
from faceflow.media.opening import decoder_pixels, open_media


def written_index(path: Path) -> FrameIndex:
    """The frames of a finished file as its packets tell: those that are meant to be shown, in presentation order.

    Nothing is decoded. For files that faceflow wrote, in which every such packet gives one frame.

    Raises:
        ExactnessError: `fault.exactness`, the track has no clock or a packet no time.
        av.error.FFmpegError: the file cannot be read.
    """
    with open_media(path, max_pixels=decoder_pixels(16384)) as container:
        stream = container.streams.video[0]
        if stream.time_base is None:
            raise _mismatch(path, "its track has no time base")
        shown = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        pts = [packet.pts for packet in shown if packet.pts is not None]
        if len(pts) != len(shown) or not pts:
            raise _mismatch(path, f"{len(shown) - len(pts)} of its {len(shown)} frames have no time")
        order = np.argsort(np.array(pts, np.int64), kind="stable")
        durations = np.array([max(1, packet.duration or 0) for packet in shown], np.int64)
        key = np.array([packet.is_keyframe for packet in shown], np.bool_)
        return FrameIndex(np.array(pts, np.int64)[order], durations[order], key[order], stream.time_base, {})


def verify_times(path: Path, index: FrameIndex, origin: Fraction, container: OutputContainer) -> tuple[str, ...]:
    """Checks that `path` shows every frame of `index` at its time minus `origin`, as `container` writes it.

    Returns:
        A note where the container rounds times (Matroska: to the nearest millisecond), else nothing.

    Raises:
        ExactnessError: `fault.exactness`, a frame is missing, added or at another time.
    """
    written = written_index(path)
    if written.frames != index.frames:
        raise _mismatch(path, f"it has {written.frames} frames instead of {index.frames}")
    wanted, tick_s = written_times(index, origin, container)
    away_s, frame = _furthest(written.pts, written.time_base, wanted, tick_s)
    if away_s:
        raise _mismatch(path, f"frame {frame} is {float(away_s):.6f} s away from its correct time")
    moved = index.pts - int(origin / index.time_base)
    rounded_s, _ = _furthest(wanted, tick_s, moved, index.time_base)
    if not rounded_s:
        return ()
    step, worst = float(tick_s) * 1000, float(rounded_s) * 1000
    return (f"{container.muxer} rounds times to {step:g} ms; largest difference {worst:.3f} ms",)


def _furthest(
    ticks: NDArray[np.int64], tick_s: Fraction, others: NDArray[np.int64], other_tick_s: Fraction
) -> tuple[Fraction, int]:
    """The largest distance in seconds between the times of two clocks, and where. Exact: whole ticks of both."""
    common = Fraction(1, math.lcm(tick_s.denominator, other_tick_s.denominator))
    apart = np.abs(ticks.astype(object) * int(tick_s / common) - others.astype(object) * int(other_tick_s / common))
    furthest = int(np.argmax(apart))
    return int(apart[furthest]) * common, furthest


def _mismatch(path: Path, what: str) -> ExactnessError:
    return ExactnessError(
        "fault.exactness",
        f"The finished {path.name} is not exact: {what}.",
        "This is a bug in faceflow; please report it with the log.",
    )
