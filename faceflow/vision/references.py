"""From the scan to the swap: the references of all faces of a target, how they are collected, kept and looked up.

The scan shows its looks to a `ReferenceCollector`, which keeps a flat copy of each face by track (one face within
one shot). `References` is what becomes of them: a file that every segment reads. While a segment is swapped,
`OccluderWatch` compares the faces of a frame with their references. It looks at every second frame; smoothing fills in
the others. Which frames those are depends on their numbers alone, so segments agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceflow.array_file import Form, damaged, read_arrays
from faceflow.publish import publishing
from faceflow.vision.glasses import rims
from faceflow.vision.occlusion import Reference, hidden, unlike, worn_as_unlike
from faceflow.vision.scan import Sighting
from faceflow.vision.shapes import Face, FrameView
from faceflow.vision.target_reference import build_reference
from faceflow.vision.tracks import TrackTable
from faceflow.vision.unwrapping import OWN_PX, FlatFace, flat_face

LOOK_EVERY = 2
"""Frames from one comparison to the next: less than a finger needs to cross a cheek."""
_FORM: Form = {
    "track": ("i", (None,)),
    "mean": ("f", (None, OWN_PX, OWN_PX, 3)),
    "spread": ("f", (None, OWN_PX, OWN_PX, 3)),
    "modes": ("f", (None, OWN_PX, OWN_PX)),
    "worn": ("u", (None, OWN_PX, OWN_PX)),
    "counts": ("i", (None,)),
}
"""References as a file."""
_MOST_SAMPLES = 48
"""Samples of one track, spread over it, that a reference is made of."""


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """References by number of the track; tracks that were seen too rarely have none."""

    by_track: Mapping[int, Reference] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes them to `path` (npz). Raises as `publishing`."""
        tracks = sorted(self.by_track)
        references = [self.by_track[track] for track in tracks]
        modes = [reference.modes for reference in references]
        with publishing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                track=np.array(tracks, np.int32),
                mean=_stacked([reference.mean for reference in references], 3),
                spread=_stacked([reference.spread for reference in references], 3),
                modes=np.concatenate([np.zeros((0, OWN_PX, OWN_PX), np.float32), *modes]).astype(np.float16),
                worn=np.array([one.worn for one in references], np.uint8).reshape(-1, OWN_PX, OWN_PX),
                counts=np.array([len(one) for one in modes], np.int32),
            )

    @classmethod
    def load(cls, path: Path) -> References:
        """Reads what `save` wrote.

        Raises:
            FaultError: `fault.artifact_missing`, `fault.artifact_damaged`.
        """
        data = read_arrays(path, _FORM)
        counts = data["counts"]
        if (counts < 0).any() or int(counts.sum()) != len(data["modes"]):
            raise damaged(path, "its faces have another number of modes than there are")
        if any(len(data[name]) != len(counts) for name in ("track", "mean", "spread", "worn")):
            raise damaged(path, "its columns have different lengths")
        means, spreads, modes = (data[name].astype(np.float32) for name in ("mean", "spread", "modes"))
        ends = np.cumsum(counts)
        own = np.split(modes, ends[:-1]) if len(ends) else []
        rows = zip(data["track"].tolist(), means, spreads, own, data["worn"], strict=True)
        return cls({track: Reference(mean, spread, part, worn) for track, mean, spread, part, worn in rows})


class ReferenceCollector:
    """Keeps flat copies of the faces that the scan sees (an `Observer`)."""

    def __init__(self) -> None:
        self._samples: dict[int, _Thinned] = {}

    def see(self, view: FrameView, sightings: Sequence[Sighting]) -> None:
        """Takes a sample of each face; see `Observer`."""
        for sighting in sightings:
            if sighting.face.landmarks is None:
                continue
            samples = self._samples.setdefault(sighting.track, _Thinned())
            if samples.wants():
                flat = flat_face(view, sighting.face.landmarks)
                samples.add(flat)

    def references(self) -> References:
        """What was learned about each track."""
        built = {track: build_reference(samples.kept) for track, samples in sorted(self._samples.items())}
        return References({track: reference for track, reference in built.items() if reference is not None})


class OccluderWatch:
    """Compares the faces of frames with their references; for one segment.

    Args:
        table: whose face is where.
        references: how each face looks by itself.
        height_px: rows of the frames.
    """

    def __init__(self, table: TrackTable, references: References, height_px: int) -> None:
        self._table = table
        self._references = references.by_track
        self._height_px = height_px

    def compared(self, number: int, view: FrameView, faces: list[Face]) -> list[Face]:
        """The faces of frame `number`, each with how `unlike` itself it is, where that is known."""
        if not self._references or not faces or number % LOOK_EVERY:
            return faces
        tracks = self._table.tracks_of(number, [face.box for face in faces], self._height_px)
        return [self._compared(view, face, track) for face, track in zip(faces, tracks, strict=True)]

    def _compared(self, view: FrameView, face: Face, track: int | None) -> Face:
        reference = None if track is None else self._references.get(track)
        if reference is None or face.landmarks is None:
            return face
        flat = flat_face(view, face.landmarks)
        return face if flat is None else replace(face, unlike=unlike(flat, reference))


def in_a_picture(view: FrameView, faces: Sequence[Face]) -> list[Face]:
    """The faces of a single picture, each with what this picture alone tells to be in front of it: glasses."""
    return [_with_glasses(view, face) for face in faces]


def _with_glasses(view: FrameView, face: Face) -> Face:
    flat = None if face.landmarks is None else flat_face(view, face.landmarks)
    worn = None if flat is None else rims(flat.lab[..., 0], flat.seen)
    return face if worn is None else replace(face, hidden=hidden([(0, worn_as_unlike(worn))]))


@dataclass(slots=True)
class _Thinned:
    """Samples in the order of time, evenly spread however many come."""

    kept: list[FlatFace] = field(default_factory=list)
    _seen: int = 0
    _step: int = 1

    def wants(self) -> bool:
        """Whether the next one is kept; asked once for each."""
        self._seen += 1
        return (self._seen - 1) % self._step == 0

    def add(self, sample: FlatFace | None) -> None:
        if sample is None:
            return
        self.kept.append(sample)
        if len(self.kept) > _MOST_SAMPLES:
            self.kept = self.kept[::2]
            self._step *= 2


def _stacked(maps: Sequence[NDArray[np.float32]], channels: int) -> NDArray[np.float16]:
    return np.array(maps, np.float16).reshape(-1, OWN_PX, OWN_PX, channels)
