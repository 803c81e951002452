"""The look through the whole target while its frames are counted: where shots are cut, and who is in it.

Every frame gives a tiny gray thumbnail, by which cuts are found. At each cut, then at a steady pace and when a face was
lost, the frame is searched for faces: the whole overview each time, its tiles (where small faces are found) all at a
cut and two at a time after it, so that a long shot has soon been seen all over. In between, faces that are known are
followed by their landmarks alone, which costs a fraction of a search.

It is called from the one decode that validate makes anyway, so it must be cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.chaining import Chains, Track
from faceflow.vision.cuts import CutDetector
from faceflow.vision.face_detector import overlap
from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.people import people_of_tracks
from faceflow.vision.person import Person
from faceflow.vision.shapes import Face, FrameView, Looking, Recogniser
from faceflow.vision.tracks import TrackTable

OVERVIEW_PX = 640
"""Long side of the picture in which faces are searched."""

_REACH_S = 1.0
"""How long a face is looked for where it was last seen."""
_SAME_FACE = 0.4


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two searches for faces, and between two looks at known ones, later and as a shot begins."""

    search_s: float
    follow_s: float
    at_first_s: float


CALM = Pace(search_s=0.5, follow_s=0.5, at_first_s=0.25)
"""Where all faces are treated alike. The swap looks for small faces only where the scan saw some, so they must be
found soon: at two tiles a search, a wide picture has been seen all over after two seconds, and `TrackTable` looks back
as far."""
CLOSE = Pace(search_s=0.5, follow_s=0.125, at_first_s=0.125)
"""Where it matters which face is which: in an eighth of a second nobody takes somebody else's place unseen."""
AT_FIRST_S = 2.0
"""How long a shot is young: a short one must show its faces often enough to learn their looks (`target_reference`)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face in a frame that was looked at; `face` is in full-frame pixels."""

    frame: int
    shot: int
    track: int
    face: Face


class Observer(Protocol):
    """Is shown what the scan sees, while the frame is at hand."""

    def see(self, view: FrameView, sightings: Sequence[Sighting]) -> None:
        """One look: the frame and the faces in it. `TrackTable.person` tells later whose track each was."""
        ...


class TargetScan:
    """Collects cuts, tracks and people of one target.

    For every frame in order: `thumbnail`, then `see` if `wants` says so; `finish` at the end. After that `people`
    and `table` are there.

    Args:
        analyser: finds and follows faces.
        recogniser: tells people apart; None where it is not installed or nobody needs to know.
        pace: how often to look.
        observers: are shown every look.
        overview_px: long side of the picture in which faces are searched.
    """

    def __init__(
        self,
        analyser: Looking,
        recogniser: Recogniser | None = None,
        *,
        pace: Pace = CALM,
        observers: Sequence[Observer] = (),
        overview_px: int = OVERVIEW_PX,
    ) -> None:
        self._analyser = analyser
        self._same_person = None if recogniser is None else recogniser.same_person
        self._pace = pace
        self._observers = observers
        self._overview_px = overview_px
        self._detector = CutDetector()
        self._cuts: list[int] = []
        self._chains = Chains(recogniser)
        self._search_s: float | None = None
        self._follow_s = 0.0
        self._begun_s = 0.0
        self._turn: int | None = None
        self._looks = 0
        self._times_s = (0.0, 0.0)
        self._frames = 0
        self._person: list[int] = []

    def thumbnail(self, number: int, luma: NDArray[np.uint8]) -> None:
        """Looks at frame `number`'s thumbnail: uint8 (rows, columns), gray, the same size for all frames."""
        if self._detector.is_cut(luma):
            self._cuts.append(number)
            self._search_s = None

    def wants(self, number: int, time_s: float) -> bool:
        """Whether the frame whose thumbnail was just seen should be looked at."""
        self._times_s = (self._times_s[0] if self._frames else time_s, time_s)
        self._frames = number + 1
        if self._search_s is None or time_s >= self._search_s:
            return True
        return bool(self._chains.in_view) and time_s >= self._follow_s

    def see(self, number: int, time_s: float, view: FrameView) -> None:
        """Looks at a frame.

        Args:
            number: frame number.
            time_s: its time in seconds.
            view: the frame, upright.
        """
        self._chains.until(time_s)
        begins = self._search_s is None
        known = [] if begins else [track.last for track in self._chains.in_view if track.last is not None]
        if begins:
            self._begun_s = time_s
            self._chains.begin_shot()
            self._turn = None
        if self._search_s is None or time_s >= self._search_s:
            found = self._analyser.look(view, self._overview_px, self._turn)
            faces = self._with_followed(view, found, known)
            self._turn = 0 if self._turn is None else self._turn + 1
            self._search_s = time_s + self._pace.search_s
        else:
            faces = self._with_followed(view, [], known)
            if len(faces) < len(known):
                self._search_s = time_s  # somebody was lost: the next frame is searched
        young = time_s - self._begun_s < AT_FIRST_S
        self._follow_s = time_s + (self._pace.at_first_s if young else self._pace.follow_s)
        shot = len(self._cuts)
        tracks = self._chains.look(self._looks, number, shot, time_s, view, faces)
        self._looks += 1
        sightings = [Sighting(number, shot, track.number, face) for track, face in zip(tracks, faces, strict=True)]
        for observer in self._observers:
            observer.see(view, sightings)

    def finish(self) -> None:
        """Ends the scan: decides which tracks are the same person."""
        first_s, last_s = self._times_s
        # The last frame is shown for as long as the others are on average.
        self._chains.until(last_s + (last_s - first_s) / max(1, self._frames - 1))
        self._person = people_of_tracks([track.seen for track in self._chains.tracks], self._same_person)

    def _with_followed(self, view: FrameView, found: list[Face], known: Sequence[Face]) -> list[Face]:
        """`found` and those of the known faces that are still there and not among them."""
        faces = list(found)
        for last in known:
            if _is_new(last, faces):
                face = self._analyser.follow(view, last)
                faces += [face] if face is not None and _is_new(face, faces) else []
        return faces

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frame numbers that begin a shot, 0 left out."""
        return tuple(self._cuts)

    @property
    def table(self) -> TrackTable:
        """All sightings, by track."""
        tracks = self._chains.tracks
        first_s, last_s = self._times_s
        rate = (self._frames - 1) / (last_s - first_s) if last_s > first_s else 1.0
        counts = [len(track.frames) for track in tracks]
        return TrackTable(
            shots=np.array([0, *self._cuts], np.int64),
            person=np.array(self._person, np.int32),
            size_s=np.array([track.size_s for track in tracks], np.float32),
            quality=np.array([track.best[0] for track in tracks], np.float32),
            track=np.repeat(np.arange(len(tracks), dtype=np.int32), counts),
            frame=np.array([frame for track in tracks for frame in track.frames], np.int64),
            box=np.array([box for track in tracks for box in track.boxes], np.float32).reshape(-1, 4),
            reach=max(1, round(_REACH_S * rate)),
        )

    @property
    def people(self) -> tuple[Person, ...]:
        """Who was seen, in the order of first sight."""
        count = max(self._person, default=NO_PERSON) + 1
        own: list[list[Track]] = [[] for _ in range(count)]
        for track, person in zip(self._chains.tracks, self._person, strict=True):
            if person != NO_PERSON:
                own[person].append(track)
        return tuple(_described(number, tracks) for number, tracks in enumerate(own))


def _is_new(face: Face, faces: Sequence[Face]) -> bool:
    return all(overlap(face.box, other.box) < _SAME_FACE for other in faces)


def _described(number: int, tracks: Sequence[Track]) -> Person:
    finest = max(tracks, key=lambda track: track.best[0])
    best = finest.best[1]
    views = [(mean, max(1, track.seen.sure_views)) for track in tracks if (mean := track.seen.mean) is not None]
    embedding = None
    if views:
        weights = np.array([weight for _, weight in views], np.float64)
        mean = (np.stack([mean for mean, _ in views]) * weights[:, None]).sum(0) / weights.sum()
        embedding = tuple(float(value) for value in mean)
    left, top, right, bottom = (float(value) for value in finest.boxes[best])
    return Person(
        number=number,
        first_seen_s=min(track.times_s[0] for track in tracks),
        seconds=sum(track.seconds for track in tracks),
        samples=sum(len(track.frames) for track in tracks),
        largest_height_px=max(track.largest_px for track in tracks),
        shots=tuple(sorted({track.seen.shot for track in tracks})),
        best_frame=finest.frames[best],
        best_box=(left, top, right, bottom),
        embedding=embedding,
    )
