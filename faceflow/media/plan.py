"""Cuts the work into segments: ranges of frames, decided by the index and the options alone.

Every worker that plans gets the same plan, so a resumed or distributed run agrees on what is done. A border
lies on a key frame where one is near the wanted length (then its reader decodes nothing twice), else on a cut
of the picture (then smoothing has nothing to bridge), else exactly at the wanted length. Context ends where the shot
does: beyond a cut there is nothing to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.media.facts import FrameIndex, Segment

_NEAR = Fraction(1, 3)


def plan_segments(
    index: FrameIndex, *, segment_s: float, context_frames: int, cuts: Sequence[int]
) -> tuple[Segment, ...]:
    """Divides all frames of an index into consecutive segments.

    Args:
        index: the mezzanine's frames.
        segment_s: wanted length, seconds; real ones differ by up to a third.
        context_frames: frames that a segment reads beyond either border, fewer where the file or the shot ends.
        cuts: frame numbers that begin a new shot.

    Returns:
        Segments in order; their `first` and `frames` cover every frame once.

    Raises:
        ValueError: the index is empty or a length is not positive.
    """
    if index.frames == 0 or segment_s <= 0 or context_frames < 0:
        raise ValueError("a plan needs frames, a positive segment length and no negative context")
    wanted_ticks = Fraction(segment_s) / index.time_base
    preferred = (np.flatnonzero(index.key), np.array(sorted(set(cuts)), np.int64))
    borders = [0]
    while (border := _next_border(index, borders[-1], wanted_ticks, preferred)) < index.frames:
        borders.append(border)
    borders.append(index.frames)
    shots = sorted({0, *cuts, index.frames})
    return tuple(
        Segment(
            number=number,
            first=first,
            frames=end - first,
            context_before=min(context_frames, first - shots[int(np.searchsorted(shots, first, "right")) - 1]),
            context_after=min(context_frames, shots[int(np.searchsorted(shots, end, "left"))] - end),
        )
        for number, (first, end) in enumerate(pairwise(borders))
    )


def _next_border(
    index: FrameIndex,
    first: int,
    wanted_ticks: Fraction,
    preferred: Sequence[NDArray[np.integer[Any]]],
) -> int:
    begin = int(index.pts[first])
    end = int(index.pts[-1]) + int(index.durations[-1])
    if end - begin <= wanted_ticks * (1 + _NEAR):
        return index.frames
    aim = begin + wanted_ticks
    for candidates in preferred:
        times = index.pts[candidates[candidates > first]]
        near = [int(time) for time in times if abs(int(time) - aim) <= wanted_ticks * _NEAR]
        if near:
            best = min(near, key=lambda time: (abs(time - aim), time))
            return int(np.searchsorted(index.pts, best))
    return max(first + 1, int(np.searchsorted(index.pts, int(aim))))
