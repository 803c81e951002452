"""Gender and age of the faces in a target, learned while the scan looks at it.

A guess from one frame jumps by years. So each track is looked at several times as it goes on, well seen faces count for
more, and the mean is what a selection goes by: one answer for a track, and where people are told apart, one for a
person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.people import frontal
from faceflow.vision.scan import Sighting
from faceflow.vision.shapes import FrameView, TraitsEstimator
from faceflow.vision.tracks import TrackTable

_LOOKS_AT_FIRST = 5
"""Looks at a track one after the other; from then on at its 8th, 16th, 32nd, ... sighting."""
_LARGE_PX = 112.0


@dataclass(slots=True)
class _Guesses:
    sightings: int = 0
    weight: float = 0.0
    male: float = 0.0
    age_years: float = 0.0


class TraitsCollector:
    """Guesses as the scan looks (an `Observer`).

    Args:
        estimator: guesses.
    """

    def __init__(self, estimator: TraitsEstimator) -> None:
        self._estimator = estimator
        self._guesses: dict[int, _Guesses] = {}

    def see(self, view: FrameView, sightings: Sequence[Sighting]) -> None:
        """Looks at the faces that it has not seen often enough; see `Observer`."""
        for sighting in sightings:
            mine = self._guesses.setdefault(sighting.track, _Guesses())
            mine.sightings += 1
            if mine.sightings > _LOOKS_AT_FIRST and mine.sightings & (mine.sightings - 1):
                continue
            traits = self._estimator.estimate(view, sighting.face)
            weight = min(_LARGE_PX, sighting.face.height_px) * sighting.face.score * (0.1 + frontal(sighting.face))
            mine.weight += weight
            mine.male += weight * traits.male
            mine.age_years += weight * traits.age_years

    def added_to(self, table: TrackTable, *, told_apart: bool) -> TrackTable:
        """The table with what was learned.

        Args:
            table: of the same scan.
            told_apart: whether tracks of one person number are known to be one person.
        """
        guesses = [self._guesses.get(track, _Guesses()) for track in range(table.tracks)]
        sums = np.array([[one.weight, one.male, one.age_years] for one in guesses], np.float64).reshape(-1, 3)
        if told_apart:
            for person in set(table.person.tolist()) - {NO_PERSON}:
                own = table.person == person
                sums[own] = sums[own].sum(0)
        with np.errstate(invalid="ignore"):
            male, age_years = (sums[:, 1:] / sums[:, :1]).T  # not a number where nobody was looked at
        return replace(table, male=_single(male), age_years=_single(age_years))


def _single(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(numbers, np.float32)
