"""A restorer without weights: the swapped face as sharp and as grainy as what surrounds it.

A portrait is often sharper than a video frame, or softer; it has no grain or another one. Next to the target's own
skin, hair and background that gives the swap away. Sharpness is told by how much of the fine detail is very fine
(ratio of two band-pass energies, so that contrast does not count), grain by the quiet third of small patches. Both
are measured inside the mask and around it; the fine band of the face is scaled, and grain is added where the
surroundings have more. The noise is seeded from the crop's own bytes: the same crop gives the same result.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.model import SwappedCrop

Floats = NDArray[np.float32]

_FINE_SIGMA, _MIDDLE_SIGMA = 0.9, 2.2
"""Pixels; the fine band is what the first blur takes away, the middle band what the second takes on top."""
_GAINS = (0.45, 1.9)
"""Least and largest gain of the fine band: beyond, detail turns into noise or into wax."""
_PATCH_PX = 8
_QUIET = 0.33
"""Share of patches, the quietest, by which grain is measured: the others hold edges."""
_MOST_GRAIN = 6.0
_FEWEST_PIXELS = 200


@dataclass(frozen=True, slots=True)
class Texture:
    """The finest scale of a region: `sharpness` is a ratio of energies, `grain` a deviation in 8-bit codes."""

    sharpness: float
    grain: float


class DetailRestorer:
    """Matches sharpness and grain. Holds no state; safe to share between threads."""

    name = "detail"
    version = "2"

    def restore(self, crops: Sequence[SwappedCrop], blend: float) -> list[SwappedCrop]:
        """See `Restorer`. Pixels where the mask is 0 stay as they are."""
        if blend <= 0:
            return list(crops)
        return [_restored(crop, min(blend, 1.0)) for crop in crops]


def measure(luma: Floats, region: NDArray[np.bool_]) -> Texture | None:
    """Sharpness and grain of `luma` (float32 (S, S), 0 to 255) in `region` (bool (S, S)); None if that is too small."""
    return _texture(*_bands(luma), region)


def _restored(crop: SwappedCrop, blend: float) -> SwappedCrop:
    luma = cv2.cvtColor(crop.pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    bands = _bands(luma)
    own, wanted = _texture(*bands, crop.mask > 200), _texture(*bands, _clear_of(crop.mask))
    if own is None or wanted is None:
        return crop
    gain = float(np.clip(wanted.sharpness / max(own.sharpness, 1e-3), *_GAINS))
    x, y, columns, rows = cv2.boundingRect(crop.mask)
    inside = (slice(y, y + rows), slice(x, x + columns))
    pixels = np.ascontiguousarray(crop.pixels[inside])
    more = blend * (gain - 1)
    result = cv2.addWeighted(pixels, 1 + more, cv2.GaussianBlur(pixels, (0, 0), _FINE_SIGMA), -more, 0)
    missing = wanted.grain**2 - (gain * own.grain) ** 2
    if missing > 0.05:
        noise = _grain(crop, blend * min(_MOST_GRAIN, float(np.sqrt(missing))))[inside]
        result = cv2.add(result, cv2.merge([noise] * 3), dtype=cv2.CV_8U)
    restored = crop.pixels.copy()
    restored[inside] = cv2.copyTo(result, crop.mask[inside], pixels)
    return SwappedCrop(pixels=restored, mask=crop.mask)


def _bands(luma: Floats) -> tuple[Floats, Floats]:
    soft = cv2.GaussianBlur(luma, (0, 0), _FINE_SIGMA)
    softer = cv2.GaussianBlur(luma, (0, 0), _MIDDLE_SIGMA)
    return np.asarray(luma - soft, np.float32), np.asarray(soft - softer, np.float32)


def _texture(fine: Floats, middle: Floats, region: NDArray[np.bool_]) -> Texture | None:
    shown = region.view(np.uint8)
    if cv2.countNonZero(shown) < _FEWEST_PIXELS:
        return None
    squares = cv2.multiply(fine, fine)
    sharpness = float(np.sqrt(_mean_in(squares, shown) / (_mean_in(cv2.multiply(middle, middle), shown) + 1.0)))
    count = fine.shape[0] // _PATCH_PX
    side = count * _PATCH_PX
    # Means over whole patches; a patch counts when all of it lies in the region.
    energies = cv2.resize(squares[:side, :side], (count, count), interpolation=cv2.INTER_AREA)
    shares = cv2.resize(shown[:side, :side].astype(np.float32), (count, count), interpolation=cv2.INTER_AREA)
    whole = np.asarray(energies[np.asarray(shares) > 0.999], np.float32)
    if len(whole) < 4:
        return Texture(sharpness, 0.0)
    quiet = np.sort(whole)[: max(1, int(len(whole) * _QUIET))]
    return Texture(sharpness, float(np.sqrt(quiet.mean())))


def _mean_in(values: NDArray[Any], shown: NDArray[np.uint8]) -> float:
    return float(cv2.mean(values, shown)[0])


def _clear_of(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of the target that no swapped pixel touches through the filters."""
    near = cv2.dilate((mask > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    return np.asarray(near == 0)


def _grain(crop: SwappedCrop, strength: float) -> Floats:
    """float32 (S, S): noise whose fine band has the deviation `strength`."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(np.ascontiguousarray(crop.pixels).data)))
    noise = generator.standard_normal(crop.mask.shape, np.float32)
    fine, _ = _bands(noise)
    return np.asarray(noise * np.float32(strength / float(fine.std())), np.float32)
