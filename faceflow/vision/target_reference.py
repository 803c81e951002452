"""How the target's own face looks, learned from the clip itself, so that what hides it can be told from it.

Samples of a face over a shot are put together robustly. The median of each texel is a first guess; a hand that passes
is not in it. Samples that the guess does not explain over some area are left out, and those next to them in time
too, since a hand comes and goes through them. From the rest the guess is refined, and what expression and light
change is learned as a few principal modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_landmarker import LEFT_EYE, RIGHT_EYE
from faceflow.vision.glasses import rims
from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points, features
from faceflow.vision.occlusion import Reference, smoothstep
from faceflow.vision.unwrapping import OWN_PX, FlatFace

Floats = NDArray[np.float32]

FEWEST_SAMPLES = 6
"""Fewer samples tell nothing about what is usual."""
_MODES = 5
_SAMPLES_A_MODE = 4
_ROUNDS = 3
_FIRST_SPREAD = (10.0, 2.0, 2.0)
"""Deviations that are assumed before any are known, 8-bit Lab codes."""
_LEAST_SPREAD = (3.8, 1.0, 1.0)
"""Noise, coding and landmarks that tremble: no texel is trusted to be steadier."""
_UNKNOWN_SPREAD = 8.0
_SLIP, _BROW_SLIP = 1.2, 2.0
"""Texels by which the mesh may be off, on the face and about the brows, which rise and frown more than it follows:
where the face is not even, that much of its slope is added to the spread."""
_BROW_PX = 7
_FEW = 2.0
_STRANGE = (1.5, 2.5)
"""Spreads between which a texel comes to count as foreign,"""
_DIRTY = 0.012
"""and the share of such texels up to which a sample is always taken for clean,"""
_DIRTIER = 4.0
"""or up to this many deviations above the cleaner half."""
_DROPPED = 2.5
"""Spreads beyond which a texel of a clean sample is not learned from."""


@dataclass(slots=True)
class _Samples:
    lab: Floats
    seen: Floats


def build_reference(faces: Sequence[FlatFace]) -> Reference | None:
    """The reference of one face from samples in the order of time; None where there are too few."""
    if len(faces) < FEWEST_SAMPLES:
        return None
    samples = _Samples(
        np.stack([face.lab for face in faces]).astype(np.float32),
        np.stack([face.seen for face in faces]).astype(np.float32) / np.float32(255),
    )
    mean = _middle(samples.lab, np.ones(samples.seen.shape, np.bool_), 0.0)
    spread = np.tile(np.array(_FIRST_SPREAD, np.float32), (OWN_PX, OWN_PX, 1))
    reference = Reference(mean, spread, np.zeros((0, OWN_PX, OWN_PX), np.float32))
    for turn in range(_ROUNDS):
        reference = _refined(reference, samples, first=turn == 0)
    # Few samples show less of what a face does than it does.
    wider = replace(reference, spread=reference.spread * np.float32(1 + _FEW / len(faces)))
    codes = np.asarray(np.rint(wider.mean[..., 0].clip(0, 255)), np.uint8)
    worn = rims(codes, np.asarray(np.rint(np.median(samples.seen, axis=0) * 255), np.uint8))
    return wider if worn is None else replace(wider, worn=worn)


def _refined(reference: Reference, samples: _Samples, first: bool) -> Reference:
    """One round: which samples are clean by the reference, and a better reference from those."""
    left, far = _explained(reference, samples)
    learned = samples.seen > 0.5
    clean = np.ones(len(left), np.bool_)
    if not first:
        clean = _clean(far, samples.seen)
        learned &= (far < _DROPPED) & clean[:, None, None]
    shift = _middle(left, learned, 0.0)
    left -= shift
    modes = reference.modes[:0] if first else _modes(left[clean, ..., 0], learned[clean], reference.spread[..., 0])
    mean = reference.mean + shift
    if len(modes):
        better = Reference(mean, reference.spread, modes)
        left = np.stack([better.explain(lab, seen, 2)[0] for lab, seen in zip(samples.lab, samples.seen, strict=True)])
    deviation = _middle(np.abs(left), learned, _UNKNOWN_SPREAD / 1.4826) * np.float32(1.4826)
    wide = np.asarray(cv2.GaussianBlur(cv2.dilate(deviation, np.ones((3, 3), np.uint8)), (0, 0), 0.67), np.float32)
    spread = np.sqrt(np.square(wide) + np.square(_slip() * _slope(mean)))
    return Reference(mean, np.maximum(spread, np.array(_LEAST_SPREAD, np.float32)).astype(np.float32), modes)


def _explained(reference: Reference, samples: _Samples) -> tuple[Floats, Floats]:
    """What the mean and the light leave of each sample, and how unlike the reference it is."""
    left, far = [], []
    for lab, seen in zip(samples.lab, samples.seen, strict=True):
        rest, moved, distance = reference.explain(lab, seen)
        rest[..., 0] += moved
        left.append(rest)
        far.append(distance)
    return np.stack(left), np.stack(far)


def _clean(far: Floats, seen: Floats) -> NDArray[np.bool_]:
    """bool (N,): samples in which nothing hides the face."""
    strange = (smoothstep(*_STRANGE, far) * seen).sum((1, 2)) / np.maximum(seen.sum((1, 2)), 1e-6)
    cleaner = np.sort(strange)[: max(3, len(strange) // 2)]
    middle = float(np.median(cleaner))
    limit = max(_DIRTY, middle + _DIRTIER * 1.4826 * float(np.median(np.abs(cleaner - middle))))
    clean = strange <= limit
    calm = clean & np.append(True, clean[:-1]) & np.append(clean[1:], True)
    return np.asarray(calm if calm.sum() >= max(FEWEST_SAMPLES, clean.sum() / 2) else clean)


def _modes(left: Floats, learned: NDArray[np.bool_], spread: Floats) -> Floats:
    """Principal components of brightness, in codes and weighed by the spread: float32 (K, 64, 64)."""
    count = min(_MODES, len(left) // _SAMPLES_A_MODE)
    rows = (np.where(learned, left, 0) / spread).reshape(len(left), -1)
    rows = rows - rows.mean(axis=0)
    power, shares = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    power, shares = power[::-1][:count], shares[:, ::-1][:, :count]
    strong = power > 1e-6
    found = (shares[:, strong] / np.sqrt(power[strong])).T @ rows
    return np.asarray(found.reshape(-1, OWN_PX, OWN_PX) * spread, np.float32)


def _middle(values: Floats, known: NDArray[np.bool_], otherwise: float) -> Floats:
    """Median over the first axis of float32 (N, 64, 64, 3) where `known` (N, 64, 64); `otherwise` where nothing is."""
    ordered = np.sort(np.where(known[..., None], values, np.float32(np.inf)), axis=0)
    count = known.sum(axis=0)
    at = (np.maximum(count - 1, 0) // 2)[None, ..., None]
    found = np.take_along_axis(ordered, np.broadcast_to(at, (1, *values.shape[1:])), axis=0)[0]
    return np.asarray(np.where(count[..., None] > 0, found, np.float32(otherwise)), np.float32)


@lru_cache(maxsize=1)
def _slip() -> Floats:
    """float32 (64, 64, 1): see `_SLIP`."""
    small = np.asarray(cv2.resize(features(), (OWN_PX, OWN_PX), interpolation=cv2.INTER_AREA), np.float32)
    lids = (atlas_points()[list(LEFT_EYE + RIGHT_EYE), 1].min() + 0.5) * OWN_PX / ATLAS_PX
    small[int(lids) :] = 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_BROW_PX, _BROW_PX))
    brows = cv2.GaussianBlur(cv2.dilate(small, disc), (0, 0), 1.0)
    return np.asarray(_SLIP + (_BROW_SLIP - _SLIP) * brows, np.float32)[..., None]


def _slope(mean: Floats) -> Floats:
    """float32 (64, 64, 3): change of the mean face from texel to texel."""
    calm = cv2.GaussianBlur(mean, (0, 0), 0.67)
    across, down = (cv2.Sobel(calm, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    return np.asarray(np.sqrt(np.square(across) + np.square(down)), np.float32)
