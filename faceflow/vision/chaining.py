"""Sightings become tracks: which face of this look is which face of the look before.

Place decides where it can: a face is where it was, or where its motion has taken it. Where two faces come close, where
one has jumped, is back after a gap or suddenly looks unlike itself, a recogniser is asked if there is one. It is asked
again every few seconds about a face that has not moved, because a dissolve may have put somebody else in its place.
An embedding costs more than a whole search for faces, so nobody is asked without need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.people import Seen, frontal, is_sure
from faceflow.vision.shapes import Face, FrameView, Recogniser
from faceflow.vision.tracks import distance

AMBIGUOUS = 0.35
"""Difference of two distances (centres in face sizes) below which place alone does not say which face it is."""
FAR = 0.45
"""Distance at which a face is so far from where its track was that it is asked who it is."""
VIEWS_AT_FIRST = 3
VIEWS_EVERY_S = 2.0
SOMEBODY_ELSE = 1.15
"""Times the recogniser's distance of one person: beyond it, a well seen face ends the track of somebody else,"""
SURELY_SOMEBODY_ELSE = 1.25
"""and beyond this any face does."""
UNLIKE_ITSELF = 0.6
"""Correlation of two small pictures of a face below which it is asked again who it is. It turns a head or lights it
anew more often than it is somebody else, which costs an embedding and no more."""
_CHIP_PX = 24
_LIKENESS_COST = 2.0
_MOTION_FOR_S = 0.75
_NEVER = 1e6
_FINE_PX = 200.0


@dataclass(slots=True, eq=False)
class Track:
    """One face within one shot.

    Attributes:
        number: in the order of first sight.
        seen: what tells whose it is.
        frames, times_s, boxes: the sightings; boxes in frame heights.
        last: the face at the last sighting, in frame pixels.
        chip: what it looked like then, float32 (24, 24) with mean 0 and length 1; None without a recogniser.
        viewed_s: when it was last embedded.
        seconds: how long it was on screen.
        size_s: its height in frame heights, summed over that time.
        largest_px: greatest height.
        best: how fine the finest sighting was, and its number among the sightings.
    """

    number: int
    seen: Seen
    frames: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    last: Face | None = None
    chip: NDArray[np.float32] | None = None
    viewed_s: float = -np.inf
    seconds: float = 0.0
    size_s: float = 0.0
    largest_px: float = 0.0
    best: tuple[float, int] = (-1.0, 0)

    def append(self, frame: int, time_s: float, box: NDArray[np.float32], face: Face) -> None:
        """Adds a sighting."""
        fineness = min(_FINE_PX, face.height_px) * face.score * (0.3 + frontal(face))
        if fineness > self.best[0]:
            self.best = (fineness, len(self.frames))
        self.frames.append(frame)
        self.times_s.append(time_s)
        self.boxes.append(box)
        self.last = face
        self.largest_px = max(self.largest_px, face.height_px)

    def away(self, box: NDArray[np.float32], time_s: float) -> float:
        """Distance of a box from where the track may be now: where it was, or where its motion has taken it."""
        here = distance(box, self.boxes[-1])
        if len(self.boxes) > 1 and 0 < (step := self.times_s[-1] - self.times_s[-2]) <= _MOTION_FOR_S:
            share = np.float32(min(1.0, (time_s - self.times_s[-1]) / step))
            here = min(here, distance(box, self.boxes[-1] + (self.boxes[-1] - self.boxes[-2]) * share))
        return here


@dataclass(slots=True)
class _Candidate:
    face: Face
    box: NDArray[np.float32]
    chip: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None


class Chains:
    """The tracks of a target, as they grow.

    Args:
        recogniser: tells people apart; None where there is none or nobody needs to know.
    """

    def __init__(self, recogniser: Recogniser | None) -> None:
        self._recogniser = recogniser
        self._same_person = 0.0 if recogniser is None else recogniser.same_person
        self.tracks: list[Track] = []
        self.in_view: list[Track] = []
        """Tracks that the last look saw."""
        self._open: list[Track] = []
        self._since_s = 0.0

    def begin_shot(self) -> None:
        """What follows has nothing to do with what was before."""
        for track in self._open:
            track.last = track.chip = None  # a long film has thousands of tracks
        self._open = []

    def until(self, time_s: float) -> None:
        """Time went by since the last look: everybody in view was on screen for that long."""
        spent_s = max(0.0, time_s - self._since_s)
        for track in self.in_view:
            track.seconds += spent_s
            track.size_s += spent_s * float(track.boxes[-1][3] - track.boxes[-1][1])
        self._since_s = time_s

    def look(
        self, number: int, frame: int, shot: int, time_s: float, view: FrameView, faces: Sequence[Face]
    ) -> list[Track]:
        """Takes in the faces of a look.

        Args:
            number: of the look.
            frame: its frame number.
            shot: its shot.
            time_s: its time in seconds.
            view: the frame.
            faces: what is seen in it, in its pixels.

        Returns:
            The track of each face.
        """
        height = np.float32(view.size[1])
        asks = self._recogniser is not None
        candidates = [_Candidate(face, face.box / height, _chip(view, face) if asks else None) for face in faces]
        found: list[Track] = []
        for candidate, track in zip(candidates, self._assigned(candidates, time_s, view), strict=True):
            kept = self._asked_now_and_then(candidate, track, time_s, view)
            if kept is None:
                kept = Track(len(self.tracks), Seen(shot))
                self.tracks.append(kept)
                self._open.append(kept)
                self._embed(candidate, view)
            if candidate.embedding is not None:
                kept.seen.add(candidate.embedding, _sure(candidate))
                kept.viewed_s = time_s
            kept.seen.looks.append(number)
            kept.append(frame, time_s, candidate.box, candidate.face)
            kept.chip = candidate.chip
            found.append(kept)
        self.in_view = found
        return found

    def _assigned(self, candidates: list[_Candidate], time_s: float, view: FrameView) -> list[Track | None]:
        if not candidates or not self._open:
            return [None] * len(candidates)
        away = np.array([[track.away(one.box, time_s) for track in self._open] for one in candidates])
        cost = np.where(np.isfinite(away), away, _NEVER)
        if self._recogniser is not None:
            for row, one in enumerate(candidates):
                if self._must_ask(away, row):
                    self._embed(one, view)
                    cost[row] += [self._unlikeness(one, track) for track in self._open]
        rows, columns = _cheapest_pairs(cost)
        result: list[Track | None] = [None] * len(candidates)
        for row, column in zip(rows, columns, strict=True):
            if cost[row, column] < _NEVER:
                result[row] = self._open[column]
        return result

    def _must_ask(self, away: NDArray[np.float64], row: int) -> bool:
        """Whether place does not settle which track a face goes on."""
        if not np.isfinite(away[row]).any():
            return False
        best = int(np.argmin(away[row]))
        rivals = np.concatenate([np.delete(away[row], best), np.delete(away[:, best], row)])
        near = bool((rivals < away[row, best] + AMBIGUOUS).any())
        return near or away[row, best] > FAR or self._open[best] not in self.in_view

    def _unlikeness(self, candidate: _Candidate, track: Track) -> float:
        same = self._same_person
        if track.seen.mean is None:
            return _LIKENESS_COST * same
        away = self._away(candidate, track)
        if away > (self._most_away(candidate, track) if track in self.in_view else same):
            return _NEVER
        return _LIKENESS_COST * away

    def _asked_now_and_then(
        self, candidate: _Candidate, track: Track | None, time_s: float, view: FrameView
    ) -> Track | None:
        """The track, unless it is time to ask and the face is somebody else's."""
        if track is None or self._recogniser is None or candidate.embedding is not None:
            return track
        wait_s = 0.4 if track.seen.views < VIEWS_AT_FIRST else VIEWS_EVERY_S
        if time_s - track.viewed_s < wait_s and _alike(candidate.chip, track.chip):
            return track
        self._embed(candidate, view)
        known = track.seen.mean is not None
        return None if known and self._away(candidate, track) > self._most_away(candidate, track) else track

    def _most_away(self, candidate: _Candidate, track: Track) -> float:
        """Distance beyond which a face is not that of a track that was in its place a moment ago."""
        sure = _sure(candidate) and track.seen.sure_views > 0
        return self._same_person * (SOMEBODY_ELSE if sure else SURELY_SOMEBODY_ELSE)

    @staticmethod
    def _away(candidate: _Candidate, track: Track) -> float:
        mean = track.seen.mean
        if mean is None or candidate.embedding is None:
            return float("inf")
        return float(np.linalg.norm(mean - candidate.embedding))

    def _embed(self, candidate: _Candidate, view: FrameView) -> None:
        if self._recogniser is not None and candidate.embedding is None:
            candidate.embedding = self._recogniser.embed(view, candidate.face)


def _sure(candidate: _Candidate) -> bool:
    return is_sure(candidate.face, candidate.face.height_px)


def _chip(view: FrameView, face: Face) -> NDArray[np.float32]:
    """The face between brows and mouth, upright and small, without its brightness."""
    left, right = face.points[0].astype(np.float64), face.points[1].astype(np.float64)
    turn = (right - left) @ (1, 1j) / (_CHIP_PX * 0.5)
    inverse = 1 / turn if turn else 1.0 + 0j
    offset = complex(_CHIP_PX * 0.25, _CHIP_PX * 0.3) - inverse * complex(left @ (1, 1j))
    matrix = np.array([[inverse.real, -inverse.imag, offset.real], [inverse.imag, inverse.real, offset.imag]])
    gray = view.patch(matrix.astype(np.float32), _CHIP_PX).astype(np.float32).mean(axis=2)
    gray -= gray.mean()
    return np.asarray(gray / max(1e-6, float(np.linalg.norm(gray))), np.float32)


def _alike(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    return one is None or other is None or float((one * other).sum()) >= UNLIKE_ITSELF


def _cheapest_pairs(cost: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the cheapest one-to-one assignment of `cost` (float64 (R, C))."""
    short = int(cost.shape[0] > cost.shape[1])
    nearest = cost.argmin(axis=1 - short)
    if len(np.unique(nearest)) == len(nearest):  # everyone's own cheapest is free: nothing can be cheaper
        everyone = np.arange(len(nearest))
        return (nearest, everyone) if short else (everyone, nearest)
    # Late, because it takes 25 MB and a third of a second, and faces that dispute a place are rare.
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    rows, columns = linear_sum_assignment(cost)
    return np.asarray(rows, np.intp), np.asarray(columns, np.intp)
