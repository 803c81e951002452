"""Reads a finished file once more and compares every frame's time with the index, as rational seconds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from faceflow.errors import ExactnessError
from faceflow.media.model import FrameIndex
from faceflow.media.opening import decoder_pixels, open_media

_ROUNDING_S = {"matroska": Fraction(1, 1000)}


def verify_times(path: Path, index: FrameIndex, origin: Fraction, muxer: str) -> tuple[str, ...]:
    """Checks that `path` shows every frame of `index` at its time minus `origin`.

    Times are those of the packets that are meant to be shown; nothing is decoded.

    Returns:
        A note where the container rounds times (Matroska: to the nearest millisecond), else nothing.

    Raises:
        ExactnessError: `fault.exactness`, a frame is missing, added or at another time.
    """
    with open_media(path, max_pixels=decoder_pixels(16384)) as container:
        stream = container.streams.video[0]
        if stream.time_base is None:
            raise _mismatch(path, "its track has no clock")
        ticks = [
            packet.pts
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard and packet.pts is not None
        ]
        time_base = stream.time_base
    if len(ticks) != index.frames:
        raise _mismatch(path, f"it has {len(ticks)} frames instead of {index.frames}")
    rounding_s = _ROUNDING_S.get(muxer, Fraction(0))
    worst_s = _largest_difference(np.sort(np.array(ticks, np.int64)), time_base, index, origin)
    if worst_s > rounding_s / 2:
        raise _mismatch(path, f"a frame is {float(worst_s):.6f} s away from its time")
    if worst_s:
        step, worst = float(rounding_s) * 1000, float(worst_s) * 1000
        return (f"{muxer} rounds times to {step:g} ms; largest difference {worst:.3f} ms",)
    return ()


def _largest_difference(
    ticks: np.ndarray[tuple[int], np.dtype[np.int64]], time_base: Fraction, index: FrameIndex, origin: Fraction
) -> Fraction:
    """Largest distance in seconds between the written times and the index's. Exact: whole numbers of a common tick."""
    common = Fraction(1, int(np.lcm.reduce([time_base.denominator, index.time_base.denominator, origin.denominator])))
    written = ticks.astype(object) * int(time_base / common)
    wanted = index.pts.astype(object) * int(index.time_base / common) - int(origin / common)
    return int(np.max(np.abs(written - wanted))) * common


def _mismatch(path: Path, what: str) -> ExactnessError:
    return ExactnessError(
        "fault.exactness", f"The finished {path.name} is not exact: {what}.", "Report this with the log; it is a bug."
    )
