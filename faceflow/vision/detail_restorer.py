"""A restorer without weights: the swapped face as sharp and as grainy as what surrounds it.

A portrait is often sharper than a video frame, or softer; it has no grain or another one. Next to the target's own
skin, hair and background that gives the swap away. Sharpness is told by how much of the fine detail is very fine
(ratio of two band-pass energies, so that contrast does not count), grain by the quiet third of small patches. Both
are measured inside the mask and around it; the fine band of the face is scaled, and grain is added where the
surroundings have more. Only brightness is treated: most frames carry a quarter of the colour samples anyway.

Everything is measured as means over patches of 8 x 8 pixels, made once, so that a crop costs a few passes over one
channel. Grain is cut from one tile of noise, at a place that the crop's own bytes decide: the same crop gives the same
result.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.shapes import SwappedCrop

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_FINE = (5, 5), 0.9
"""Kernel and sigma in pixels: the fine band is what this blur takes away."""
_MIDDLE = (5, 5), 1.0
"""On a picture of half the size: the middle band is what this blur takes on top of the first."""
_GAINS = (0.45, 1.9)
"""Least and largest gain of the fine band: beyond, detail turns into noise or into wax."""
_PATCH_PX = 8
_SURE = 200
"""Mask from which a pixel counts as the swapped face."""
_FEWEST_PATCHES = 4
_QUIET = 0.33
"""Share of patches, the quietest, by which grain is measured: the others hold edges."""
_MOST_GRAIN = 6.0
_LEAST_CHANGE = 0.02
"""A fine band that would change by less is left as it is."""
_LEAST_GRAIN = 0.05
"""Variance in 8-bit codes; less would vanish in rounding."""
_TILE_PX = 768
_SEED = 7
_SAMPLED_ROWS = 16


@dataclass(frozen=True, slots=True)
class Texture:
    """The finest scale of a region: `sharpness` is a ratio of energies, `grain` a deviation in 8-bit codes."""

    sharpness: float
    grain: float


class DetailRestorer:
    """Matches sharpness and grain. Holds no state; safe to share between threads."""

    name = "detail"
    version = "3"

    def restore(self, crops: Sequence[SwappedCrop], blend: float) -> list[SwappedCrop]:
        """See `Restorer`. Pixels where the mask is 0 stay as they are."""
        if blend <= 0:
            return list(crops)
        return [_restored(crop, min(blend, 1.0)) for crop in crops]


def measure(luma: Bytes, region: NDArray[np.bool_]) -> Texture | None:
    """Sharpness and grain of `luma` (uint8 (S, S)) in `region` (bool (S, S)); None if that is too small."""
    fine = _fine_band(luma)
    return _Energies(luma, fine).texture(region.astype(np.uint8))


def _restored(crop: SwappedCrop, blend: float) -> SwappedCrop:
    luma = cv2.cvtColor(crop.pixels, cv2.COLOR_BGR2GRAY)
    fine = _fine_band(np.asarray(luma, np.uint8))
    energies = _Energies(np.asarray(luma, np.uint8), fine)
    own = energies.texture(np.asarray(cv2.threshold(crop.mask, _SURE, 1, cv2.THRESH_BINARY)[1], np.uint8))
    wanted = energies.texture(_clear_of(crop.mask))
    if own is None or wanted is None:
        return crop
    gain = float(np.clip(wanted.sharpness / max(own.sharpness, 1e-3), *_GAINS))
    missing = wanted.grain**2 - (gain * own.grain) ** 2
    more = blend * (gain - 1)
    if abs(more) < _LEAST_CHANGE and missing <= _LEAST_GRAIN:
        return crop
    x, y, columns, rows = cv2.boundingRect(crop.mask)
    inside = (slice(y, y + rows), slice(x, x + columns))
    strength = blend * min(_MOST_GRAIN, float(np.sqrt(max(0.0, missing)))) if missing > _LEAST_GRAIN else 0.0
    grain = _noise_for(crop, rows, columns)
    added = cv2.addWeighted(fine[inside], more, grain, strength, 0, dtype=cv2.CV_16S)
    pixels = crop.pixels[inside]
    result = cv2.add(pixels, cv2.merge([added] * 3), dtype=cv2.CV_8U)
    restored = crop.pixels.copy()
    cv2.copyTo(result, crop.mask[inside], restored[inside])
    return SwappedCrop(pixels=restored, mask=crop.mask)


def _fine_band(luma: Bytes) -> Floats:
    exact = luma.astype(np.float32)
    return np.asarray(cv2.subtract(exact, cv2.GaussianBlur(exact, *_FINE)), np.float32)


class _Energies:
    """Mean energies of the fine and the middle band in each patch of one crop."""

    def __init__(self, luma: Bytes, fine: Floats) -> None:
        self._patches = (luma.shape[1] // _PATCH_PX, luma.shape[0] // _PATCH_PX)
        self._fine = self._means(cv2.multiply(fine, fine))
        soft = cv2.subtract(luma, fine, dtype=cv2.CV_32F)
        half = cv2.resize(soft, (luma.shape[1] // 2, luma.shape[0] // 2), interpolation=cv2.INTER_AREA)
        middle = cv2.subtract(half, cv2.GaussianBlur(half, *_MIDDLE))
        self._middle = self._means(cv2.multiply(middle, middle), _PATCH_PX // 2)

    def texture(self, region: NDArray[np.uint8]) -> Texture | None:
        """The texture of the patches that lie in `region` (uint8 (S, S), 1 inside) as a whole; None for too few."""
        whole = self._means(region, _PATCH_PX) == 1
        fine = np.asarray(self._fine[whole], np.float32)
        if len(fine) < _FEWEST_PATCHES:
            return None
        sharpness = float(np.sqrt(fine.mean() / (float(self._middle[whole].mean()) + 1.0)))
        count = max(1, int(len(fine) * _QUIET))
        quiet = np.partition(fine, count - 1)[:count]
        return Texture(sharpness, float(np.sqrt(quiet.mean())))

    def _means(self, values: NDArray[Any], patch_px: int = _PATCH_PX) -> Floats:
        columns, rows = self._patches
        return np.asarray(
            cv2.resize(values[: rows * patch_px, : columns * patch_px], self._patches, interpolation=cv2.INTER_AREA),
        )


def _clear_of(mask: Bytes) -> Bytes:
    """uint8 (S, S), 1 where no swapped pixel touches the target's through the filters."""
    near = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    return np.asarray(cv2.threshold(near, 0, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)


def _noise_for(crop: SwappedCrop, rows: int, columns: int) -> Floats:
    """float32 (rows, columns): noise whose fine band has the deviation 1, from a place that the crop's bytes decide."""
    tile = _noise_tile()
    step = max(1, crop.pixels.shape[0] // _SAMPLED_ROWS)
    place = zlib.crc32(np.ascontiguousarray(crop.pixels[::step]).data)
    top = place % max(1, _TILE_PX - rows)
    left = (place >> 12) % max(1, _TILE_PX - columns)
    return tile[top : top + rows, left : left + columns]


@lru_cache(maxsize=1)
def _noise_tile() -> Floats:
    noise = np.random.Generator(np.random.PCG64(_SEED)).standard_normal((_TILE_PX, _TILE_PX), np.float32)
    fine = cv2.subtract(noise, cv2.GaussianBlur(noise, *_FINE))
    noise *= np.float32(1 / float(np.std(fine)))
    noise.flags.writeable = False
    return noise
