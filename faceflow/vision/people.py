"""From tracks to people: which tracks show the same person, and which person a reference picture shows.

With a recogniser, tracks are brought together by the mean of their embeddings, best seen first, and never two that are
seen in one frame. A track that was seen too small or too much from the side to be sure of joins a person only when it
is clearly theirs; else it is somebody of its own. What was seen at one look only, of several in its shot, is nobody
new: half a face behind another one looks like no one.

Without one, nothing can be said across shots: tracks are told apart within a shot, and over all shots no more people
are assumed than are ever in one. Then the list says how many there are at least, not who they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.shapes import Face

LEAST_SURE_PX = 32.0
"""Face height in pixels of the frame from which an embedding can be relied on."""
_LEAST_FRONTAL = 0.3
_CAREFUL = 0.8
"""Share of the recogniser's distance that counts for what was seen badly."""


@dataclass(slots=True)
class Seen:
    """What the scan knows about one track.

    Attributes:
        shot: its shot.
        looks: numbers of the looks in which it was seen.
        sure: sum of embeddings of good views, float64 (D,), and how many.
        unsure: the same of bad views.
    """

    shot: int
    looks: list[int] = field(default_factory=list)
    sure: NDArray[np.float64] | None = None
    sure_views: int = 0
    unsure: NDArray[np.float64] | None = None
    unsure_views: int = 0

    def add(self, embedding: NDArray[np.float32], sure: bool) -> None:
        """Takes in one embedding."""
        if sure:
            self.sure = embedding.astype(np.float64) if self.sure is None else self.sure + embedding
            self.sure_views += 1
        else:
            self.unsure = embedding.astype(np.float64) if self.unsure is None else self.unsure + embedding
            self.unsure_views += 1

    @property
    def views(self) -> int:
        """Number of embeddings, good and bad."""
        return self.sure_views + self.unsure_views

    @property
    def mean(self) -> NDArray[np.float64] | None:
        """Mean embedding of the good views, of the bad ones where there are no good ones, or None."""
        if self.sure is not None:
            return np.asarray(self.sure / self.sure_views)
        return None if self.unsure is None else np.asarray(self.unsure / self.unsure_views)


@dataclass(slots=True)
class _Group:
    tracks: list[int]
    looks: set[int]
    total: NDArray[np.float64]
    weight: int

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.total / self.weight)


def is_sure(face: Face, height_px: float) -> bool:
    """Whether an embedding of this face can be relied on: large enough, and not seen from the side."""
    return height_px >= LEAST_SURE_PX and frontal(face) >= _LEAST_FRONTAL


def frontal(face: Face) -> float:
    """1 for a face seen from the front, 0 for a profile: where the nose lies between the eyes."""
    left, right, nose = (point.astype(np.float64) for point in face.points[:3])
    across = right - left
    share = float((nose - left) @ across) / max(1e-9, float(across @ across))
    return max(0.0, 1.0 - abs(2 * share - 1))


def people_of_tracks(tracks: Sequence[Seen], same_person: float | None) -> list[int]:
    """The person of each track, numbered by first sight.

    Args:
        tracks: in the order of their first sight.
        same_person: distance of embeddings below which two views show one person; None without a recogniser.
    """
    groups = _by_shot(tracks) if same_person is None else _by_embedding(tracks, same_person)
    person = [NO_PERSON] * len(tracks)
    for number, group in enumerate(sorted(groups, key=min)):
        for track in group:
            person[track] = number
    return person


def _by_shot(tracks: Sequence[Seen]) -> list[list[int]]:
    groups: list[list[int]] = []
    seen: dict[int, int] = {}
    for number, track in enumerate(tracks):
        rank = seen.get(track.shot, 0)
        seen[track.shot] = rank + 1
        if rank == len(groups):
            groups.append([])
        groups[rank].append(number)
    return groups


def _by_embedding(tracks: Sequence[Seen], same_person: float) -> list[list[int]]:
    groups: list[_Group] = []
    fleeting = _seen_in_passing(tracks)
    known = [(number, mean) for number, track in enumerate(tracks) if (mean := track.mean) is not None]
    order = sorted(
        known, key=lambda one: (one[0] in fleeting, -tracks[one[0]].sure_views, -len(tracks[one[0]].looks), one[0])
    )
    for number, mean in order:
        track = tracks[number]
        sure = track.sure is not None
        looks = set(track.looks)
        within = same_person if sure else same_person * _CAREFUL
        near = [
            (away, place)
            for place, group in enumerate(groups)
            if (away := float(np.linalg.norm(group.mean - mean))) < within and not looks & group.looks
        ]
        weight = track.sure_views
        if not near and number in fleeting:
            continue
        if near:
            group = groups[min(near)[1]]
            group.tracks.append(number)
            group.looks |= looks
            group.total, group.weight = group.total + mean * weight, group.weight + weight
        else:
            weight = max(1, weight)
            groups.append(_Group([number], looks, mean * weight, weight))
    _merge(groups, same_person)
    alone = [[number] for number, track in enumerate(tracks) if track.mean is None and number not in fleeting]
    found = [group.tracks for group in groups] + alone
    return found or [[number] for number in range(len(tracks))]


def _seen_in_passing(tracks: Sequence[Seen]) -> set[int]:
    """Tracks that were seen once, in shots in which there were faces to see at three looks or more."""
    looks: dict[int, set[int]] = {}
    for track in tracks:
        looks.setdefault(track.shot, set()).update(track.looks)
    return {number for number, track in enumerate(tracks) if len(track.looks) == 1 and len(looks[track.shot]) > 2}


def _merge(groups: list[_Group], same_person: float) -> None:
    """Brings groups together that have come close while they grew, the closest first."""
    while True:
        pairs = [
            (float(np.linalg.norm(one.mean - other.mean)), first, second)
            for first, one in enumerate(groups)
            for second, other in enumerate(groups[:first])
            if not one.looks & other.looks
        ]
        away, first, second = min(pairs, default=(np.inf, 0, 0))
        if away >= same_person * _CAREFUL:
            return
        gone = groups.pop(first)
        kept = groups[second]
        kept.tracks += gone.tracks
        kept.looks |= gone.looks
        kept.total, kept.weight = kept.total + gone.total, kept.weight + gone.weight


def matches(embedding: NDArray[np.float32], people: Sequence[Sequence[float] | None]) -> list[tuple[float, int]]:
    """Distance to and number of every person who has an embedding, the nearest first."""
    return sorted(
        (float(np.linalg.norm(np.asarray(person, np.float64) - embedding)), number)
        for number, person in enumerate(people)
        if person is not None
    )
