"""Makes the source's skin look lit and coloured like the target's.

Two steps. `colour_transfer` is the linear Monge-Kantorovich map between the colour distributions of the rendered
source and of the target (Pitie and Kokaram 2007): it moves the mean and the covariance with the least change. Its
gains are clipped, since a flat grey target would wash the face out and a contrasty one would turn lips red.
`relit` then lays the target's low-frequency light over the result, so that a shadow on the target's cheek stays.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.model import Picture

Floats = NDArray[np.float32]

_GAINS = (0.8, 1.35)
"""Least and largest gain along any direction of colour space."""
_SMALL_PX = 64
"""Side at which low frequencies are computed."""
_REACH = 0.09
"""Sigma of the light's blur as a share of the face's width."""
_LIGHT, _TINT = 0.55, 0.9
"""How much of the target's low-frequency brightness and of its tint is taken over: a face must fit its neck."""
_LUMA = np.array([0.114, 0.587, 0.299], np.float32)
_FEWEST = 40


def colour_transfer(source: Picture, target: Picture, weight: Floats) -> tuple[Floats, Floats]:
    """The map `colour @ matrix.T + offset` from the source's colours to the target's.

    Args:
        source: uint8 (S, S, 3), BGR, the rendered source.
        target: uint8 (S, S, 3), BGR, at the same place.
        weight: float32 (S, S), where skin is compared.

    Returns:
        float32 (3, 3) and float32 (3,); the identity when there is too little skin to compare.
    """
    step = max(1, source.shape[0] // 128)
    chosen = weight[::step, ::step] > 0.5
    ours = source[::step, ::step][chosen].astype(np.float64)
    theirs = target[::step, ::step][chosen].astype(np.float64)
    if len(ours) < _FEWEST:
        return np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    # Hair, a hand or a glint in the target is not its skin: far from the median in brightness.
    bright = theirs.mean(1)
    middle = np.median(bright)
    near = np.abs(bright - middle) <= 2.5 * 1.4826 * max(4.0, float(np.median(np.abs(bright - middle))))
    ours, theirs = ours[near], theirs[near]
    own_mean, their_mean = ours.mean(0), theirs.mean(0)
    own, their = (np.cov(values.T) + 2.0 * np.eye(3) for values in (ours, theirs))
    root = _power(own, 0.5)
    inverse = _power(own, -0.5)
    transfer = inverse @ _power(root @ their @ root, 0.5) @ inverse
    gains, axes = np.linalg.eigh((transfer + transfer.T) / 2)
    matrix = (axes * gains.clip(*_GAINS)) @ axes.T
    return matrix.astype(np.float32), (their_mean - matrix @ own_mean).astype(np.float32)


def hair_over(target: Picture, skin: Floats, zone: Floats) -> Floats:
    """float32 (S, S), 0 to 1: where hair of the target hangs over the face, which must stay in front.

    Args:
        target: uint8 (S, S, 3), BGR.
        skin: float32 (S, S), above 0.5 where the target's face is seen, and most of it is skin.
        zone: float32 (S, S), 0 to 1, where hair may be: the forehead.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(target, (0, 0), max(0.8, target.shape[0] / 200)), cv2.COLOR_BGR2Lab)
    step = max(1, target.shape[0] // 128)
    sample = lab[::step, ::step][(skin[::step, ::step] > 0.5) & (zone[::step, ::step] < 0.1)].astype(np.float32)
    if len(sample) < _FEWEST:
        return np.zeros(zone.shape, np.float32)
    middle = np.median(sample, axis=0)
    spread = np.maximum(np.median(np.abs(sample - middle), axis=0) * 1.4826, [12.0, 5.0, 5.0]).astype(np.float32)
    away = (lab - middle.astype(np.float32)) / spread
    # A light forehead is skin in a highlight, so brightness counts downwards only.
    distance = np.sqrt(np.square(np.minimum(away[..., 0], 0)) + np.square(away[..., 1:]).sum(axis=2))
    share = ((distance - np.float32(2.0)) / np.float32(1.6)).clip(0, 1)
    over = np.asarray(cv2.GaussianBlur(share * zone, (0, 0), max(1.0, target.shape[0] / 128)), np.float32)
    return np.asarray((over * np.float32(1.2)).clip(0, 1), np.float32)


def relit(source: Floats, target: Picture, weight: Floats, face_width_px: float) -> Floats:
    """`source` (float32 (S, S, 3), BGR) under the target's low-frequency light.

    Args:
        source: rendered, colour-matched.
        target: uint8 (S, S, 3), BGR.
        weight: float32 (S, S), where both show skin.
        face_width_px: width of the face in crop pixels.
    """
    side = source.shape[0]
    size = (_SMALL_PX, _SMALL_PX)
    ours = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    theirs = cv2.resize(target, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    known = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    sigma = max(0.8, _REACH * face_width_px * _SMALL_PX / side)
    spread = cv2.GaussianBlur((theirs - ours) * known[..., None], (0, 0), sigma)
    total = cv2.GaussianBlur(known, (0, 0), sigma)
    change = spread / np.maximum(total, 1e-3)[..., None]
    brightness = (change @ _LUMA)[..., None]
    light = np.asarray(brightness * np.float32(_LIGHT) + (change - brightness) * np.float32(_TINT), np.float32)
    return np.asarray(source + cv2.resize(light, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(values, 1e-6) ** exponent) @ axes.T)
