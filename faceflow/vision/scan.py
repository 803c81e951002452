"""The look through the whole target while its frames are counted: where shots are cut, and who is in it.

Every frame gives a tiny gray thumbnail, by which cuts are found; at each cut and every half second a small picture
is searched for faces. It is called from the one decode that validate makes anyway, so it must be cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceflow.stages.model import Person
from faceflow.vision.face_detector import overlap
from faceflow.vision.model import Analyser, Face, Picture

SCAN_EVERY_S = 0.5
"""Seconds between two searches for faces."""

_LEAST_CHANGE = 14.0
"""Mean absolute difference of thumbnails, in 8-bit codes, below which two frames are never a cut."""
_CLEAR_CHANGE = 40.0
"""Above which they always are, whatever moves around them."""
_OUTSTANDING = 3.0
"""In between, a cut changes this many times as much as the frames before it (so a pan is none)."""
_HISTOGRAM_CHANGE = 0.25
"""Share of pixels whose brightness class changes at a cut (so a moving object is none)."""
_BINS = 16
_SAME_PLACE = 0.2
_SAME_PERSON = 0.45
"""Cosine of two embeddings above which they are one person."""


class CutDetector:
    """Finds hard cuts in thumbnails: a large change of picture and of histogram that stands out from the motion."""

    def __init__(self) -> None:
        self._last: NDArray[np.int16] | None = None
        self._histogram: NDArray[np.float64] | None = None
        self._motion = 0.0

    def is_cut(self, luma: NDArray[np.uint8]) -> bool:
        """Whether the next frame's thumbnail (uint8, always the same size) begins a shot; False for the first."""
        here = luma.astype(np.int16)
        histogram = np.bincount((luma >> 4).reshape(-1), minlength=_BINS) / luma.size
        last, last_histogram = self._last, self._histogram
        self._last, self._histogram = here, histogram
        if last is None or last_histogram is None:
            return False
        change = float(np.abs(here - last).mean())
        classes = float(np.abs(histogram - last_histogram).sum() / 2)
        outstanding = change > max(_LEAST_CHANGE, _OUTSTANDING * self._motion) and classes > _HISTOGRAM_CHANGE
        cut = change > _CLEAR_CHANGE or outstanding
        # Motion goes on from its old value after a cut: the new shot's own motion is not known yet.
        self._motion = self._motion if cut else 0.7 * self._motion + 0.3 * change
        return cut


@dataclass(slots=True)
class _Sighting:
    number: int
    first_seen_s: float
    box: NDArray[np.float32]
    shot: int
    samples: int = 1
    largest_px: float = 0.0
    embeddings: list[NDArray[np.float32]] = field(default_factory=list)


class TargetScan:
    """Collects cuts and people of one target.

    For every frame in order: `thumbnail`, then `see` if `wants` says so. People are told apart by embedding where
    the analyser has a recogniser. Otherwise by place within a shot, and across cuts no more people are assumed than
    are ever seen at once: then the list says how many there are at least, not who they are.
    """

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._detector = CutDetector()
        self._cuts: list[int] = []
        self._due_s: float | None = None
        self._people: list[_Sighting] = []
        self._best: tuple[float, int] | None = None

    def thumbnail(self, number: int, luma: NDArray[np.uint8]) -> None:
        """Looks at frame `number`'s thumbnail: uint8 (rows, columns), gray, the same size for all frames."""
        if self._detector.is_cut(luma):
            self._cuts.append(number)
            self._due_s = None

    def wants(self, number: int, time_s: float) -> bool:
        """Whether the frame whose thumbnail was just seen should be searched for faces."""
        del number
        return self._due_s is None or time_s >= self._due_s

    def see(self, number: int, time_s: float, bgr_small: Picture, scale: float) -> None:
        """Searches a frame for faces.

        Args:
            number: frame number.
            time_s: its time in seconds.
            bgr_small: uint8 (h, w, 3), BGR, upright; 640 pixels on the long side are enough.
            scale: pixels of `bgr_small` per pixel of the frame.
        """
        self._due_s = time_s + SCAN_EVERY_S
        faces = self._analyser.analyse(bgr_small)
        shot = len(self._cuts)
        free = list(self._people)
        for face in faces:
            person = self._known(face, shot, free)
            height_px = face.height_px / scale
            if person is None:
                person = _Sighting(len(self._people), time_s, face.box, shot, samples=0)
                self._people.append(person)
            else:
                free.remove(person)
            person.box, person.shot = face.box, shot
            person.samples += 1
            person.largest_px = max(person.largest_px, height_px)
            if face.embedding is not None:
                person.embeddings.append(face.embedding)
        rank = sum(face.height_px * face.score for face in faces)
        if faces and (self._best is None or rank > self._best[0]):
            self._best = (rank, number)

    @property
    def people(self) -> tuple[Person, ...]:
        """Who was seen, in the order of first sight."""
        return tuple(
            Person(
                number=person.number,
                first_seen_s=person.first_seen_s,
                samples=person.samples,
                largest_height_px=person.largest_px,
                embedding=_mean(person.embeddings),
            )
            for person in self._people
        )

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frame numbers that begin a shot, 0 left out."""
        return tuple(self._cuts)

    @property
    def best_frame(self) -> int | None:
        """The searched frame that shows most face, for before/after pictures; None if none shows any."""
        return None if self._best is None else self._best[1]

    def _known(self, face: Face, shot: int, free: list[_Sighting]) -> _Sighting | None:
        if face.embedding is not None:
            alike = [(float(face.embedding @ _unit(one.embeddings)), one) for one in free if one.embeddings]
            likeness, person = max(alike, key=lambda pair: pair[0], default=(0.0, None))
            return person if likeness >= _SAME_PERSON else None
        near = [(overlap(face.box, one.box), one) for one in free if one.shot == shot]
        shared, person = max(near, key=lambda pair: pair[0], default=(0.0, None))
        if shared >= _SAME_PLACE:
            return person
        return free[0] if free else None


def _unit(embeddings: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    total = np.sum(embeddings, axis=0)
    return np.asarray(total / max(1e-9, float(np.linalg.norm(total))), np.float32)


def _mean(embeddings: list[NDArray[np.float32]]) -> tuple[float, ...] | None:
    return tuple(float(value) for value in _unit(embeddings)) if embeddings else None
