"""Gaps of a frame or three, in which a face was not found between frames in which it was: filled, so nothing flickers.

An analyser misses a face that is there for many reasons: blur, a blink of light, a hand. The swap would go out for a
frame and come back, which is seen more than anything else. What lies between two sightings of a face is put on the line
between them. Whether two sightings are one face, their boxes say; nothing is filled across a cut, nor where something
else was found at the place.

What is filled depends on no frame farther away than `MOST_FRAMES`, so segments agree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_detector import overlap
from faceflow.vision.shapes import Face

MOST_FRAMES = 3
"""Longest gap: an eighth of a second at 24 frames a second. Who is away for longer may be away."""
_SAME_FACE = 0.3


@dataclass(frozen=True, slots=True)
class _Seen:
    number: int
    faces: Sequence[Face]
    cut: bool


class GapFiller:
    """Takes the faces of consecutive frames and gives them back with gaps filled, `MOST_FRAMES` frames later."""

    def __init__(self) -> None:
        self._window: deque[_Seen] = deque(maxlen=2 * MOST_FRAMES + 1)
        self._next: int | None = None

    def push(self, number: int, faces: Sequence[Face], cut: bool) -> Iterator[tuple[int, list[Face], bool]]:
        """Adds frame `number`, the one after the last; `cut` says that it begins a shot.

        Yields:
            Number, faces and cut of the frame that is now `MOST_FRAMES` behind.
        """
        if self._next is None:
            self._next = number
        self._window.append(_Seen(number, faces, cut))
        if number - self._next >= MOST_FRAMES:
            yield self._ready()

    def finish(self) -> Iterator[tuple[int, list[Face], bool]]:
        """Yields the frames that still wait, when no more will come."""
        while self._window and self._next is not None and self._next <= self._window[-1].number:
            yield self._ready()

    def _ready(self) -> tuple[int, list[Face], bool]:
        assert self._next is not None  # noqa: S101 (set by the first push)
        number = self._next
        self._next += 1
        place = next(place for place, seen in enumerate(self._window) if seen.number == number)
        here = self._window[place]
        faces = list(here.faces)
        for face in _between(list(self._window), place):
            if _free(face, faces):
                faces.append(face)
        return number, faces, here.cut


def _between(window: Sequence[_Seen], place: int) -> Iterator[Face]:
    """Faces at `place` of the window that were found before and after it, and not in between; shortest gaps first."""
    gaps = [
        (before, after)
        for before in range(max(0, place - MOST_FRAMES), place)
        for after in range(place + 1, min(len(window), before + MOST_FRAMES + 2))
        if not any(seen.cut for seen in window[before + 1 : after + 1])
    ]
    for before, after in sorted(gaps, key=lambda gap: gap[1] - gap[0]):
        gone = [face for face in window[before].faces if _free(face, window[before + 1].faces)]
        back = [face for face in window[after].faces if _free(face, window[after - 1].faces)]
        for face in gone:
            again = max(back, key=lambda other: overlap(face.box, other.box), default=None)
            if again is not None and overlap(face.box, again.box) >= _SAME_FACE:
                yield _on_the_line(face, again, (place - before) / (after - before))


def _free(face: Face, others: Collection[Face]) -> bool:
    return all(overlap(face.box, other.box) < _SAME_FACE for other in others)


def _on_the_line(before: Face, after: Face, share: float) -> Face:
    """The face at a share of the way."""
    landmarks = None
    if before.landmarks is not None and after.landmarks is not None:
        landmarks = _mean(before.landmarks, after.landmarks, share)
    return replace(
        before,
        box=_mean(before.box, after.box, share),
        points=_mean(before.points, after.points, share),
        score=min(before.score, after.score),
        landmarks=landmarks,
        unlike=None,
        hidden=None,
        sight=None,
    )


def _mean(one: NDArray[np.float32], other: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    return np.asarray(one + (other - one) * np.float32(share), np.float32)
