"""The published restorers: GFPGAN, CodeFormer, GPEN and RestoreFormer++, which paint a sharp face over a swapped one.

A restorer has a template and a size of its own. It is shown the swapped crop through the face's five points; where its
template reaches further than the crop, the swap stage has kept that much more of the frame around it (`margin_px`).
What it makes is laid over the swapped pixels, inside its own feathered box, and goes into a crop that is as fine as is
of use: that of the frame, or the restorer's own where that is coarser by far. On the frame's grid the crop is pasted
sample by sample, so that a restored face is resampled once and not twice. The swap's mask stays what it was: a
restorer changes how the face looks, not how much of it is replaced.

Where the restorer sees the whole mask about as finely as it was swapped, swapped pixels and mask are taken as it sees
them: all is mixed in its small picture, and one picture is warped instead of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Contract, Template
from faceflow.vision.neural.alignment import after, aligned, inverse, moved, scale_of, seen_through
from faceflow.vision.neural.box import box_mask
from faceflow.vision.neural.loading import Loaded, load, require_inputs
from faceflow.vision.neural.pixels import to_pictures, to_tensor
from faceflow.vision.shapes import PlacedCrop, SwappedCrop

_HALF = (0.5, 0.5, 0.5)
"""Restorers take and give RGB from -1 to 1."""
_BOX_FEATHER = 0.15
_AROUND_PX = 4
"""Around the mask: pasting reads up to three pixels further."""
_COARSE = 0.5
"""Restored pixels for one of the frame, below which a crop on the frame's grid would only be larger."""
_LARGEST_PX = 2048
"""Side of a restorer's view in frame pixels, above which the crop stays on the restorer's own grid."""
_AS_FINE = 0.75
"""Pixels of the restorer's view for one of the swapped crop, from which the swap may be seen through it."""
_CODE_VERSION = "2"
_CONTRACTS = {Contract.GFPGAN, Contract.CODEFORMER, Contract.GPEN, Contract.RESTOREFORMER}


class NeuralRestorer:
    """One restorer. Safe to share between threads.

    Args:
        loaded: the network.
        weight: 0 to 1 for networks that have such an input: how much is kept of what the face was (CodeFormer).
    """

    def __init__(self, loaded: Loaded, weight: float) -> None:
        require_inputs(loaded, "input")
        entry = loaded.entry
        if entry.template is None or entry.size_px is None or entry.contract not in _CONTRACTS:
            raise EngineError(
                "engine.contract_mismatch",
                f"The model {entry.name!r} is not a restorer, or the catalogue does not state how to align faces "
                "for it.",
                "Choose a restorer from `faceflow models list`.",
                model=entry.name,
            )
        self.name = entry.name
        self.version = f"{_CODE_VERSION}-{loaded.sha256[:12]}"
        self._template: Template = entry.template
        self._size_px: int = entry.size_px
        self._network = loaded.network
        self._more = {
            value.name: np.full([side or 1 for side in value.shape], weight, np.float64)
            for value in loaded.network.inputs
            if value.name == "weight"
        }

    def margin_px(self, points: NDArray[np.float32], side_px: int) -> int:
        """How far the restorer looks beyond a crop.

        Args:
            points: float32 (5, 2), in the crop's pixels.
            side_px: the crop's side.
        """
        last = self._size_px - 1
        seen = moved(_corners(0, 0, last, last), inverse(aligned(points, self._template, self._size_px)))
        beyond = max(0.0, float(-seen.min()), float(seen.max()) - (side_px - 1))
        return min(int(np.ceil(beyond)), side_px // 2)

    def restore_placed(self, crops: Sequence[PlacedCrop], blend: float) -> list[PlacedCrop]:
        """Restores a batch; see `PlacedRestorer`.

        Raises:
            EngineError: `engine.run_failed`.
        """
        if blend <= 0 or not crops:
            return list(crops)
        views = [aligned(crop.points, self._template, self._size_px) for crop in crops]
        size = (self._size_px, self._size_px)
        shown = [
            seen_through(_covered(crop.crop.pixels, crop.crop.mask), view, size)
            for crop, view in zip(crops, views, strict=True)
        ]
        made = self._network.run({"input": to_tensor(shown, _HALF, _HALF), **self._more}, reuse=True)[0]
        restored = to_pictures(made, _HALF, _HALF)
        return [
            self._laid_over(crop, view, seen, picture, min(blend, 1.0))
            for crop, view, seen, picture in zip(crops, views, shown, restored, strict=True)
        ]

    def _laid_over(
        self,
        placed: PlacedCrop,
        view: NDArray[np.float32],
        seen: NDArray[np.uint8],
        picture: NDArray[np.uint8],
        blend: float,
    ) -> PlacedCrop:
        """The swapped crop with the restored picture over it.

        Args:
            placed: the swapped crop.
            view: crop -> picture.
            seen: uint8 (S, S, 4), colour and mask of the crop, seen through `view`.
            picture: uint8 (S, S, 3), what the network made of that.
            blend: how much of it.
        """
        to_picture = after(view, placed.matrix)
        on_frame = scale_of(to_picture) >= max(_COARSE, self._size_px / _LARGEST_PX)
        matrix, size = _canvas(placed, np.eye(2, 3) if on_frame else to_picture, even=on_frame)
        from_crop, from_picture = after(matrix, inverse(placed.matrix)), after(matrix, inverse(to_picture))
        # Colour and cover travel together: one warp of four channels costs less than two.
        if self._sees_all(placed, view):
            mixed = cv2.blendLinear(picture, _colour(seen), *_shares(self._size_px, blend))
            whole = seen_through(_covered(np.asarray(mixed, np.uint8), _cover(seen)), from_picture, size, outside=0)
            mixed, mask = _colour(whole), _cover(whole)
        else:
            covered = _covered(placed.crop.pixels, placed.crop.mask)
            swapped = seen_through(covered, from_crop, size, outside=0)
            box = box_mask(self._size_px, _BOX_FEATHER)
            over = seen_through(_covered(picture, box), from_picture, size, outside=0)
            share = np.multiply(_cover(over), np.float32(blend / 255), dtype=np.float32)
            mixed = cv2.blendLinear(_colour(over), _colour(swapped), share, 1 - share)
            mask = _cover(swapped)
        mask[:1] = mask[-1:] = 0
        mask[:, :1] = mask[:, -1:] = 0
        crop = SwappedCrop(np.asarray(mixed, np.uint8), mask)
        return PlacedCrop(crop, matrix.astype(np.float32), moved(placed.points, from_crop))

    def _sees_all(self, placed: PlacedCrop, view: NDArray[np.float32]) -> bool:
        """Whether the restorer sees the whole mask, and about as finely as it was swapped."""
        if scale_of(view) < _AS_FINE:
            return False
        x, y, columns, rows = cv2.boundingRect(placed.crop.mask)
        seen = moved(_corners(x, y, x + columns, y + rows), view)
        return bool(seen.min() >= 1 and seen.max() <= self._size_px - 2)


def load_restorer(name: str, weight: float, settings: SwapSettings) -> NeuralRestorer:
    """The restorer `name` of the catalogue. Raises as `loading.load`."""
    return NeuralRestorer(load(name, settings), weight)


def _covered(picture: NDArray[np.uint8], cover: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (H, W, 4): a picture with its cover as the fourth channel."""
    return np.asarray(cv2.merge([*cv2.split(picture), cover]), np.uint8)


@lru_cache(maxsize=8)
def _shares(side_px: int, blend: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """float32 (S, S) each: how much of the restored picture, and how much of what was there."""
    share = np.multiply(box_mask(side_px, _BOX_FEATHER), np.float32(blend / 255), dtype=np.float32)
    return share, 1 - share


def _cover(covered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.extractChannel(covered, 3), np.uint8)


def _corners(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    return np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)


def _colour(covered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(covered, cv2.COLOR_BGRA2BGR), np.uint8)


def _canvas(
    placed: PlacedCrop, grid: NDArray[np.float64], *, even: bool
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The part of a grid (frame -> grid) that the mask covers: frame -> canvas, and its width and height."""
    x, y, columns, rows = cv2.boundingRect(placed.crop.mask)
    corners = _corners(x, y, x + columns, y + rows)
    seen = moved(corners, after(grid, inverse(placed.matrix))).astype(np.float64)
    step = 2 if even else 1  # whole chroma blocks
    low = np.floor(seen.min(0) / step) * step - _AROUND_PX
    high = np.ceil(seen.max(0) / step) * step + _AROUND_PX
    matrix = np.array(grid, np.float64)
    matrix[:, 2] -= low
    width, height = (high - low).astype(int).tolist()
    return matrix, (width, height)
