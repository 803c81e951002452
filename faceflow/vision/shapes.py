"""The shapes that every analyser, swapper and restorer shares.

A new engine is added by writing one class with these methods and naming it in the registry; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR, upright."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """The window of a frame that landmarks were read from.

    Attributes:
        pixels: uint8 (S, S), gray.
        matrix: float32 (2, 3), frame -> window.
    """

    pixels: NDArray[np.uint8]
    matrix: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a picture, in that picture's pixels.

    Attributes:
        box: float32 (4,), left, top, right, bottom.
        points: float32 (5, 2), eye left and right in the picture, nose, mouth corner left and right.
        score: 0 to 1, how sure the analyser is.
        landmarks: float32 (L, 3) dense landmarks (x, y in pixels, z in the same scale), or None.
        embedding: float32 (D,), unit length, or None where the analyser has no recogniser.
        unlike: uint8 (64, 64), how unlike itself the face is (see `occlusion`), or None where nothing is known.
        hidden: uint8 (64, 64), 255 where something is in front of the face (see `occlusion`), or None.
        sight: what the landmarks were read from, or None where nobody kept it.
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    unlike: NDArray[np.uint8] | None = None
    hidden: NDArray[np.uint8] | None = None
    sight: Sight | None = None

    @property
    def height_px(self) -> float:
        """Height of the box in pixels."""
        return float(self.box[3] - self.box[1])


class FrameView(Protocol):
    """What analysers and trackers see of a frame: never the whole of it in BGR. Coordinates are the full frame's."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the full frame in pixels."""
        ...

    def overview(self, long_side_px: int) -> tuple[Picture, float]:
        """The whole frame, at most `long_side_px` long, and its scale (overview pixels per frame pixel, <= 1)."""
        ...

    def patch(self, matrix: NDArray[np.float32], side_px: int) -> Picture:
        """uint8 (side, side, 3), BGR: the frame seen through `matrix` (float32 (2, 3), frame -> patch)."""
        ...


class PictureAnalyser(Protocol):
    """Finds the faces of one picture."""

    name: str
    version: str

    def analyse(self, picture: Picture) -> list[Face]:
        """Faces of `picture` (uint8 (H, W, 3), BGR), the largest first."""
        ...


class Looking(Protocol):
    """Looks at parts of a frame."""

    def look(self, view: FrameView, overview_px: int, turn: int | None) -> list[Face]:
        """Faces of a view; see `EmbeddedAnalyser.look`."""
        ...

    def follow(self, view: FrameView, face: Face) -> Face | None:
        """The face that was seen at this place a moment ago, or None."""
        ...


Expected = Callable[[int], Sequence[NDArray[np.float32]]]
"""Frame number to boxes, float32 (4,) each, left, top, right, bottom in full-frame pixels."""


class Analyser(PictureAnalyser, Looking, Protocol):
    """Finds faces in pictures and in videos."""

    def tracker(self, cuts: Sequence[int], first: int, expected: Expected | None) -> Tracker:
        """A tracker for consecutive frames from number `first` on; see `EmbeddedAnalyser.tracker`."""
        ...


class Recogniser(Protocol):
    """Tells people apart."""

    name: str
    version: str
    same_person: float
    """Euclidean distance of two embeddings below which they are one person."""

    def embed(self, view: FrameView, face: Face) -> NDArray[np.float32]:
        """float32 (D,) of a face of a view, in whose full-frame pixels `face` is."""
        ...


@dataclass(frozen=True, slots=True)
class Traits:
    """What a face looks like to a network, not who or what somebody is.

    Attributes:
        male: 0 to 1.
        age_years: years.
    """

    male: float
    age_years: float


class TraitsEstimator(Protocol):
    """Guesses gender and age."""

    def estimate(self, view: FrameView, face: Face) -> Traits:
        """The traits of a face of a view, in whose full-frame pixels `face` is."""
        ...


class Tracker(Protocol):
    """Follows faces through consecutive frames; one per segment and thread."""

    def track(self, view: FrameView) -> list[Face]:
        """Faces of the next frame, in full-frame pixels and in an order that carries no identity."""
        ...


@dataclass(frozen=True, slots=True)
class TargetCrop:
    """An aligned crop of a target frame.

    Attributes:
        pixels: uint8 (S, S, 3), BGR, the target as it is.
        matrix: float32 (2, 3), frame -> crop.
        points: float32 (5, 2), the face's five points in crop pixels.
        landmarks: float32 (L, 3) in crop pixels, or None.
        hidden: uint8 (64, 64), 255 where something is in front of the face, in atlas space; None where nothing is, or
            nothing is known.
    """

    pixels: Picture
    matrix: NDArray[np.float32]
    points: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None
    hidden: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class SwappedCrop:
    """What a swapper makes of a `TargetCrop`.

    Attributes:
        pixels: uint8 (S, S, 3), BGR; the target's own pixels where the mask is 0.
        mask: uint8 (S, S), 0 keeps the target, 255 takes `pixels`; 0 along the border.

    On the way to compose, both may be cut to the mask's rectangle (`faces_file.trimmed`).
    """

    pixels: Picture
    mask: NDArray[np.uint8]


class Identity(Protocol):
    """A prepared source identity, opaque to everything but the swapper that made it."""

    @property
    def name(self) -> str:
        """Name of the source."""
        ...


class Swapper(Protocol):
    """Puts a source identity into aligned target crops."""

    name: str
    version: str

    def crop_side_px(self, face: Face) -> int:
        """Side S of the aligned crop that this swapper wants for a target face of this size."""
        ...

    def alignment(self, face: Face, side_px: int) -> NDArray[np.float32]:
        """float32 (2, 3), frame -> crop, for a crop of `side_px`."""
        ...

    def prepare(self, name: str, portraits: Sequence[tuple[Picture, Face]]) -> Identity:
        """Makes an identity of one or several portraits (picture, its face) of the same person."""
        ...

    def swap(self, crops: Sequence[TargetCrop], identity: Identity) -> list[SwappedCrop]:
        """Swaps a batch. Crops of one batch have the same side."""
        ...


class Restorer(Protocol):
    """Improves swapped crops."""

    name: str
    version: str

    def restore(self, crops: Sequence[SwappedCrop], blend: float) -> list[SwappedCrop]:
        """Restores a batch; `blend` 0 returns the crops as they are, 1 the restored ones."""
        ...


@dataclass(frozen=True, slots=True)
class PlacedCrop:
    """A swapped crop with where it lies.

    Attributes:
        crop: pixels and mask, (H, W).
        matrix: float32 (2, 3), frame -> crop.
        points: float32 (5, 2), the face's five points in crop pixels.
    """

    crop: SwappedCrop
    matrix: NDArray[np.float32]
    points: NDArray[np.float32]


@runtime_checkable
class PlacedRestorer(Protocol):
    """A restorer that aligns the face for itself, and may give back another crop than it got."""

    name: str
    version: str

    def margin_px(self, points: NDArray[np.float32], side_px: int) -> int:
        """How many pixels beyond a crop of `side_px` it looks, for a face with these five points in the crop."""
        ...

    def restore_placed(self, crops: Sequence[PlacedCrop], blend: float) -> list[PlacedCrop]:
        """Restores a batch; `blend` 0 returns the crops as they are."""
        ...


class Masker(Protocol):
    """Says where a face may be replaced."""

    version: str

    def masks(self, crops: Sequence[TargetCrop]) -> Sequence[NDArray[np.uint8]]:
        """uint8 (S, S) for each crop, 0 keeps the target. Crops of one batch have the same side."""
        ...
