"""Who is where in the clip: the table that the scan leaves behind, and how a face of any frame is found in it.

The scan looks at some frames and chains what it sees to *tracks*: one face within one shot. Tracks of the same person
in different shots, or before and after a gap, share a *person*. The table holds one row a sighting. Later stages see
every frame; they find out whose a face is by comparing it with where each track was before and after that frame.

That comparison depends on the table and on the faces of that one frame alone. So segments agree, whatever machine works
on them, without talking to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.array_file import Form, damaged, read_arrays
from faceflow.publish import publishing
from faceflow.vision.faces_file import NO_PERSON

FARTHEST = 0.75
"""Distance of two centres, in face sizes, beyond which two boxes are not the same face."""
MOST_GROWTH = 1.0
"""Difference in size, in powers of two, beyond which they are not."""
LOOK_BACK = 2
"""Times the reach that a track is looked for before its first sighting: a small face may have been there for a while
before the scan looked into its part of the picture."""
_FORM: Form = {
    "shots": ("i", (None,)),
    "person": ("i", (None,)),
    "size_s": ("f", (None,)),
    "track": ("i", (None,)),
    "frame": ("i", (None,)),
    "box": ("f", (None, 4)),
    "reach": ("i", ()),
    "quality": ("f", (None,)),
    "male": ("f", (None,)),
    "age_years": ("f", (None,)),
}
"""The table as a file."""
_GROWTH_COST = 0.5
_AGE_COST = 0.5


def _nothing() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """Sightings of faces, by track.

    Attributes:
        shots: int64 (S,), first frame of each shot; the first is 0.
        person: int32 (T,), each track's person, or `NO_PERSON`.
        size_s: float32 (T,), each track's height in frame heights, summed over the seconds in which it was seen.
        quality: float32 (T,), how well each track is seen at its best (size, sharpness of sight, from the front).
        male: float32 (T,), 0 to 1, how often each track was taken for a man's; not a number where nobody asked.
        age_years: float32 (T,), how old each track looks; not a number where nobody asked.
        track: int32 (N,), rows are sorted by track and, within it, by frame.
        frame: int64 (N,), frame number of the sighting.
        box: float32 (N, 4), left, top, right, bottom in frame heights, so that it fits the frame at any scale.
        reach: frames after the last sighting of a track, or across a gap in it, for which its face is still looked
            for where it was.
    """

    shots: NDArray[np.int64]
    person: NDArray[np.int32]
    size_s: NDArray[np.float32]
    track: NDArray[np.int32]
    frame: NDArray[np.int64]
    box: NDArray[np.float32]
    reach: int
    quality: NDArray[np.float32] = field(default_factory=_nothing)
    male: NDArray[np.float32] = field(default_factory=_nothing)
    age_years: NDArray[np.float32] = field(default_factory=_nothing)
    _begin: NDArray[np.int64] = field(init=False, repr=False)
    _end: NDArray[np.int64] = field(init=False, repr=False)
    _shot: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers = np.arange(len(self.person))
        for name in ("quality", "male", "age_years"):
            if len(getattr(self, name)) != len(numbers):
                object.__setattr__(self, name, np.full(len(numbers), np.nan, np.float32))
        object.__setattr__(self, "_begin", np.searchsorted(self.track, numbers, "left").astype(np.int64))
        object.__setattr__(self, "_end", np.searchsorted(self.track, numbers, "right").astype(np.int64))
        shot = np.searchsorted(self.shots, self.frame[self._begin] if len(numbers) else self.frame, "right") - 1
        object.__setattr__(self, "_shot", shot.astype(np.int64))

    @classmethod
    def empty(cls) -> TrackTable:
        """A table of a target in which nobody was seen."""
        return cls(
            shots=np.zeros(1, np.int64),
            person=np.zeros(0, np.int32),
            size_s=np.zeros(0, np.float32),
            track=np.zeros(0, np.int32),
            frame=np.zeros(0, np.int64),
            box=np.zeros((0, 4), np.float32),
            reach=0,
        )

    @property
    def tracks(self) -> int:
        """Number of tracks."""
        return len(self.person)

    def shot_of(self, frame: int) -> int:
        """The shot that a frame belongs to."""
        return int(np.searchsorted(self.shots, frame, "right")) - 1

    def shot_of_track(self, track: int) -> int:
        """The shot that a track lies in."""
        return int(self._shot[track])

    def rows_of(self, track: int) -> slice:
        """The rows of a track."""
        return slice(int(self._begin[track]), int(self._end[track]))

    def boxes_at(self, frame: int, height_px: int) -> list[NDArray[np.float32]]:
        """Where faces are expected at a frame: float32 (4,) each, left, top, right, bottom in pixels of the frame."""
        return [np.asarray(box * np.float32(height_px), np.float32) for _, box, _ in self._near(frame)]

    def tracks_of(self, frame: int, boxes: Sequence[NDArray[np.float32]], height_px: int) -> list[int | None]:
        """The track of each face of one frame, or None for a face that no track covers.

        Every track takes one face at most, and every person too. The nearest pairs find each other first.

        Args:
            frame: frame number.
            boxes: float32 (4,) each, left, top, right, bottom in pixels of the frame.
            height_px: rows of that frame.
        """
        near = self._near(frame)
        faces = [box / np.float32(height_px) for box in boxes]
        pairs = sorted(
            (cost, face, track)
            for face, box in enumerate(faces)
            for track, where, age in near
            if (cost := distance(box, where) + _AGE_COST * age) < np.inf
        )
        found: list[int | None] = [None] * len(faces)
        taken: set[int] = set()
        people: set[int] = set()
        for _, face, track in pairs:
            person = int(self.person[track])
            if found[face] is None and track not in taken and (person == NO_PERSON or person not in people):
                found[face] = track
                taken.add(track)
                people.add(person)
        return found

    def tracks_in(self, shot: int) -> list[int]:
        """The tracks of a shot."""
        found: list[int] = np.flatnonzero(self._shot == shot).tolist()
        return found

    def span(self, track: int) -> tuple[int, int]:
        """Frames of a track's first and last sighting."""
        return int(self.frame[self._begin[track]]), int(self.frame[self._end[track] - 1])

    def people_of(self, frame: int, boxes: Sequence[NDArray[np.float32]], height_px: int) -> list[int]:
        """The person of each face of one frame, or `NO_PERSON`; see `tracks_of`."""
        return [self.person_of(track) for track in self.tracks_of(frame, boxes, height_px)]

    def person_of(self, track: int | None) -> int:
        """The person of a track; `NO_PERSON` for None."""
        return NO_PERSON if track is None else int(self.person[track])

    def _near(self, frame: int) -> list[tuple[int, NDArray[np.float32], float]]:
        """Tracks of the frame's shot that are within reach: number, box, and age of what is known (0 to 1)."""
        found = []
        for track in np.flatnonzero(self._shot == self.shot_of(frame)):
            placed = self._placed(int(track), frame)
            if placed is not None:
                found.append((int(track), *placed))
        return found

    def _placed(self, track: int, frame: int) -> tuple[NDArray[np.float32], float] | None:
        """Where a track is at a frame: between its sightings on the line between them, else where it was."""
        rows = self.rows_of(track)
        frames, boxes = self.frame[rows], self.box[rows]
        after = int(np.searchsorted(frames, frame, "left"))
        if after < len(frames) and (frames[after] == frame or after == 0):
            return self._aged(boxes[after], int(frames[after]) - frame, LOOK_BACK)
        if after == len(frames):
            return self._aged(boxes[-1], frame - int(frames[-1]))
        gap = int(frames[after] - frames[after - 1])
        passed = frame - int(frames[after - 1])
        if gap > self.reach:
            nearer = after - 1 if passed <= gap - passed else after
            return self._aged(boxes[nearer], min(passed, gap - passed))
        share = np.float32(passed / gap)
        return boxes[after - 1] * (1 - share) + boxes[after] * share, 0.0

    def _aged(self, box: NDArray[np.float32], frames: int, times: int = 1) -> tuple[NDArray[np.float32], float] | None:
        return (box, frames / max(1, self.reach)) if frames <= self.reach * times else None

    def save(self, path: Path) -> None:
        """Writes the table to `path` (npz). Raises as `publishing`."""
        with publishing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                shots=self.shots,
                person=self.person,
                size_s=self.size_s,
                track=self.track,
                frame=self.frame,
                box=self.box,
                reach=np.int64(self.reach),
                quality=self.quality,
                male=self.male,
                age_years=self.age_years,
            )

    @classmethod
    def load(cls, path: Path) -> TrackTable:
        """Reads what `save` wrote.

        Raises:
            FaultError: `fault.artifact_missing`, `fault.artifact_damaged`.
        """
        data: dict[str, Any] = read_arrays(path, _FORM)
        data["reach"] = int(data["reach"])
        tracks, rows = len(data["person"]), len(data["track"])
        lengths = {name: len(column) for name, column in data.items() if name not in {"reach", "shots"}}
        wanted = {name: rows if name in {"track", "frame", "box"} else tracks for name in lengths}
        if lengths != wanted or not len(data["shots"]) or data["reach"] < 0:
            raise damaged(path, "its columns have different lengths")
        seen = np.unique(data["track"])
        if not np.array_equal(seen, np.arange(tracks)) or (np.diff(data["track"]) < 0).any():
            raise damaged(path, "its rows are not those of its tracks")
        return cls(**data)


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How far two boxes are from being one face: centres in face sizes plus growth; infinite where they cannot be."""
    sizes = [float(np.sqrt(max(1e-12, float((box[2:] - box[:2]).prod())))) for box in (one, other)]
    apart = float(np.linalg.norm((one[:2] + one[2:]) - (other[:2] + other[2:]))) / (sizes[0] + sizes[1])
    growth = abs(float(np.log2(sizes[0] / sizes[1])))
    if apart > FARTHEST or growth > MOST_GROWTH:
        return float("inf")
    return apart + _GROWTH_COST * growth
