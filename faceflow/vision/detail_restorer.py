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
    version = "1"

    def restore(self, crops: Sequence[SwappedCrop], blend: float) -> list[SwappedCrop]:
        """See `Restorer`. Pixels where the mask is 0 stay as they are."""
        if blend <= 0:
            return list(crops)
        return [_restored(crop, np.float32(min(blend, 1.0))) for crop in crops]


def measure(luma: Floats, region: NDArray[np.bool_]) -> Texture | None:
    """Sharpness and grain of `luma` (float32 (S, S), 0 to 255) in `region` (bool (S, S)); None if that is too small."""
    if int(region.sum()) < _FEWEST_PIXELS:
        return None
    fine, middle = _bands(luma)
    fine_energy = float(np.square(fine[region]).mean())
    middle_energy = float(np.square(middle[region]).mean())
    side = luma.shape[0] // _PATCH_PX * _PATCH_PX
    shape = (side // _PATCH_PX, _PATCH_PX, side // _PATCH_PX, _PATCH_PX)
    whole = region[:side, :side].reshape(shape).all(axis=(1, 3))
    energies = np.square(fine[:side, :side]).reshape(shape).mean(axis=(1, 3))[whole]
    if len(energies) < 4:
        return Texture(float(np.sqrt(fine_energy / (middle_energy + 1.0))), 0.0)
    quiet = np.sort(energies)[: max(1, int(len(energies) * _QUIET))]
    return Texture(float(np.sqrt(fine_energy / (middle_energy + 1.0))), float(np.sqrt(quiet.mean())))


def _restored(crop: SwappedCrop, blend: np.float32) -> SwappedCrop:
    pixels = crop.pixels.astype(np.float32)
    luma = cv2.cvtColor(crop.pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = crop.mask > 200
    around = _clear_of(crop.mask)
    own, wanted = measure(luma, inside), measure(luma, around)
    if own is None or wanted is None:
        return crop
    gain = np.float32(np.clip(wanted.sharpness / max(own.sharpness, 1e-3), *_GAINS))
    fine = pixels - cv2.GaussianBlur(pixels, (0, 0), _FINE_SIGMA)
    result = pixels + (gain - 1) * fine
    missing = wanted.grain**2 - float(gain * own.grain) ** 2
    if missing > 0.05:
        strength = min(_MOST_GRAIN, float(np.sqrt(missing)))
        result += _grain(crop, strength)[..., None]
    result = pixels + blend * (result - pixels)
    restored = np.where(crop.mask[..., None] > 0, np.rint(result).clip(0, 255), pixels).astype(np.uint8)
    return SwappedCrop(pixels=restored, mask=crop.mask)


def _bands(luma: Floats) -> tuple[Floats, Floats]:
    soft = cv2.GaussianBlur(luma, (0, 0), _FINE_SIGMA)
    softer = cv2.GaussianBlur(luma, (0, 0), _MIDDLE_SIGMA)
    return np.asarray(luma - soft, np.float32), np.asarray(soft - softer, np.float32)


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
