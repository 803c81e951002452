"""Faces of consecutive frames through a swapper: cropped, swapped in batches, masked, and given back in order.

A restorer may look further than the swapper's crop. Then the crop that is kept is larger by a margin on every side, on
the same grid, with the swap in its middle; the frame itself is never needed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.media.colour import crop_bgr
from faceflow.media.native import NativeFrame
from faceflow.vision.faces_file import FaceFrame
from faceflow.vision.shapes import (
    Face,
    Identity,
    Masker,
    Picture,
    PlacedRestorer,
    Restorer,
    SwappedCrop,
    Swapper,
    TargetCrop,
)

Chosen = tuple[Face, int, str]
"""A face, its person, and the name of the source it gets."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A face that was cropped and is not swapped yet.

    `around` is its crop with `margin` pixels on every side, and `crop` looks at the middle of it.
    """

    frame: int
    person: int
    source: str
    crop: TargetCrop
    around: Picture
    margin: int


class FaceSwaps:
    """Swaps the faces of one segment. Not shared between threads.

    Args:
        swapper: makes the crops.
        identities: the prepared sources, by name.
        maskers: bound the swap further; the smallest mask holds.
        restorer: what comes next, for the margin it wants.
        batch: most faces at once.
    """

    def __init__(
        self,
        swapper: Swapper,
        identities: Mapping[str, Identity],
        maskers: Sequence[Masker] = (),
        restorer: Restorer | PlacedRestorer | None = None,
        batch: int = 1,
    ) -> None:
        self._swapper = swapper
        self._identities = identities
        self._maskers = maskers
        self._restorer = restorer if isinstance(restorer, PlacedRestorer) else None
        self._batch = batch
        self._waiting: list[_Waiting] = []

    def push(self, frame: NativeFrame, chosen: Sequence[Chosen]) -> Iterator[FaceFrame]:
        """Takes the chosen faces of the next frame; gives those that are done. Faces that show nothing are left out."""
        for face, person, source in chosen:
            new = self._cropped(frame, face, person, source)
            if self._waiting and not _together(self._waiting[0], new):
                yield from self.finish()
            self._waiting.append(new)
            if len(self._waiting) == self._batch:
                yield from self.finish()

    def finish(self) -> Iterator[FaceFrame]:
        """Swaps and gives those that still wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        crops = [one.crop for one in waiting]
        swapped = self._swapper.swap(crops, self._identities[waiting[0].source])
        masks = [one.mask for one in swapped]
        for masker in self._maskers:
            masks = [np.minimum(old, new) for old, new in zip(masks, masker.masks(crops), strict=True)]
        for one, made, mask in zip(waiting, swapped, masks, strict=True):
            if mask.any():
                yield _kept(one, SwappedCrop(made.pixels, mask))

    def _cropped(self, frame: NativeFrame, face: Face, person: int, source: str) -> _Waiting:
        side = self._swapper.crop_side_px(face)
        matrix = self._swapper.alignment(face, side)
        linear = matrix[:, :2].astype(np.float64)
        points = (face.points @ linear.T + matrix[:, 2]).astype(np.float32)
        landmarks = None
        if face.landmarks is not None:
            flat = face.landmarks[:, :2] @ linear.T + matrix[:, 2]
            depth = face.landmarks[:, 2:] * np.sqrt(abs(np.linalg.det(linear)))
            landmarks = np.hstack([flat, depth]).astype(np.float32)
        margin = 0 if self._restorer is None else self._restorer.margin_px(points, side)
        shifted = matrix if margin == 0 else matrix + np.array([[0, 0, margin]] * 2, np.float32)
        around = crop_bgr(frame, shifted, side + 2 * margin)
        inner = around[margin : margin + side, margin : margin + side]
        crop = TargetCrop(inner, matrix, points, landmarks, face.hidden)
        return _Waiting(frame.number, person, source, crop, around, margin)


def _together(one: _Waiting, other: _Waiting) -> bool:
    """Whether two faces can go through the swapper at once."""
    return one.source == other.source and one.crop.pixels.shape == other.crop.pixels.shape


def _kept(one: _Waiting, swapped: SwappedCrop) -> FaceFrame:
    margin, crop = one.margin, swapped
    matrix, points = one.crop.matrix, one.crop.points
    if margin:
        side = swapped.mask.shape[0]
        pixels = one.around  # the target's own pixels were looked at for the last time
        pixels[margin : margin + side, margin : margin + side] = swapped.pixels
        crop = replace(swapped, pixels=pixels, mask=_padded(swapped.mask, margin))
        matrix, points = matrix + np.array([[0, 0, margin]] * 2, np.float32), points + np.float32(margin)
    return FaceFrame(one.frame, one.person, matrix, crop, points)


def _padded(mask: NDArray[np.uint8], margin: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.copyMakeBorder(mask, *(margin,) * 4, cv2.BORDER_CONSTANT, value=0), np.uint8)
