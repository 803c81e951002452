"""Makes the source's skin look lit and coloured like the target's.

Both faces are compared where both show skin: on the mesh, away from brows, eyes, lips and nostrils, and without what
hangs in front of the target (`off_skin`). `colour_transfer` is the linear Monge-Kantorovich map between the two
colour distributions (Pitie and Kokaram 2007): it moves the mean and the covariance with the least change. Its gains
are clipped, since a flat grey target would wash the face out and a contrasty one would turn lips red. `light_over`
is what is then still missing of the target's low-frequency light, so that a shadow on the target's cheek stays; its
mean is exact: over the compared skin the swapped face is as bright and as tinted as the target's own. `highlights`
keeps the source's shine below what the target's skin shows.

All of it is low-frequency or statistics, and is computed on pictures of a hundred pixels at most.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.model import Picture

Floats = NDArray[np.float32]

_GAINS = (0.95, 1.15)
"""Least and largest gain along any direction of colour space: the target's contrast is mostly its light, which comes
in by itself; more would exaggerate the source's features."""
_REACH = 0.10
"""Sigma of the light's blur as a share of the face's width."""
_LIGHT, _TINT = 0.9, 1.0
"""How much of the target's low-frequency brightness and of its tint is taken over: a face must fit its neck."""
_LUMA = np.array([[0.114, 0.587, 0.299]] * 3, np.float32)
_SPREAD = np.array([12.0, 5.0, 5.0], np.float32), np.array([40.0, 6.5, 6.5], np.float32)
"""Least and largest deviation of a face's skin in 8-bit CIE Lab: it is not trusted to be more even, nor more motley
(then what lies behind a profile would pass for skin)."""
SKIN = (2.0, 3.6)
"""Deviations from the skin's median within which a pixel is surely skin, and beyond which it surely is not."""
FACE = (6.0, 10.0)
"""The same for what can still be the face in another light: a reddened nose, a shadow."""
_KNEE, _ABOVE = 0.96, 0.3
"""Share of the target's skin that is darker than the knee, and the slope above it."""
_FEWEST = 40


def off_skin(target: Picture, where: Floats) -> Floats:
    """float32 (H, W): how far each pixel of the target is from the colour of its skin, in deviations.

    Args:
        target: uint8 (H, W, 3), BGR.
        where: float32 (H, W), above 0.5 where most of what is seen is skin.

    Returns:
        All 0 when there is too little to tell. `share_within` makes a share of it.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(target, (3, 3), 0.8), cv2.COLOR_BGR2Lab)
    sample = lab[where > 0.5].astype(np.float32)
    if len(sample) < _FEWEST:
        return np.zeros(where.shape, np.float32)
    middle = np.median(sample, axis=0).astype(np.float32)
    spread = (np.median(np.abs(sample - middle), axis=0).astype(np.float32) * np.float32(1.4826)).clip(*_SPREAD)
    away = (lab - middle) / spread
    # Light skin is skin in a highlight, so brightness counts downwards only.
    darker = np.minimum(away[..., 0], 0)
    return np.asarray(np.sqrt(darker * darker + away[..., 1] * away[..., 1] + away[..., 2] * away[..., 2]), np.float32)


def share_within(distance: Floats, limits: tuple[float, float]) -> Floats:
    """float32: 1 up to the first of `limits`, 0 from the second on."""
    low, high = (np.float32(limit) for limit in limits)
    return np.asarray(((high - distance) / (high - low)).clip(0, 1), np.float32)


def colour_transfer(source: Picture, target: Picture, weight: Floats) -> tuple[Floats, Floats]:
    """The map `matrix @ colour + offset` from the source's colours to the target's.

    Args:
        source: uint8 (H, W, 3), BGR, the rendered source.
        target: uint8 (H, W, 3), BGR, at the same place.
        weight: float32 (H, W), above 0.5 where skin is compared.

    Returns:
        float32 (3, 3) and float32 (3,); the identity when there is too little skin to compare.
    """
    chosen = weight > 0.5
    ours, theirs = source[chosen], target[chosen]
    if len(ours) < _FEWEST:
        return np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    (own, own_mean), (their, their_mean) = _moments(ours), _moments(theirs)
    root = _power(own, 0.5)
    inverse = _power(own, -0.5)
    transfer = inverse @ _power(root @ their @ root, 0.5) @ inverse
    gains, axes = np.linalg.eigh((transfer + transfer.T) / 2)
    matrix = (axes * gains.clip(*_GAINS)) @ axes.T
    return matrix.astype(np.float32), (their_mean - matrix @ own_mean).astype(np.float32)


def light_over(source: Floats, target: Picture, weight: Floats, face_width_px: float) -> Floats:
    """What must be added to `source` to stand in the target's light: float32 (H, W, 3), BGR, low-frequency.

    Args:
        source: float32 (H, W, 3), BGR, rendered and colour-matched.
        target: uint8 (H, W, 3), BGR.
        weight: float32 (H, W), where both show skin.
        face_width_px: width of the face in pixels of these pictures.
    """
    sigma = max(0.8, _REACH * face_width_px)
    missing = np.asarray(cv2.subtract(target, source, dtype=cv2.CV_32F), np.float32)
    spread = cv2.GaussianBlur(missing * weight[..., None], (0, 0), sigma)
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    change = np.asarray(spread / np.maximum(total, np.float32(1e-3))[..., None], np.float32)
    brightness = cv2.transform(change, _LUMA)
    light = change * np.float32(_TINT) + brightness * np.float32(_LIGHT - _TINT)
    share = weight / max(1e-6, float(weight.sum()))
    left_over = ((missing - light) * share[..., None]).sum((0, 1))
    return np.asarray(light + left_over, np.float32)


def highlights(target: Picture, weight: Floats) -> NDArray[np.uint8]:
    """A table, uint8 (256, 1, 3), that bends each channel where it exceeds what the target's skin shows.

    A source that was lit from the front is shinier than most targets; where red is at its end already, a highlight
    would only raise blue and green, and the skin would look bleached.

    Args:
        target: uint8 (H, W, 3), BGR.
        weight: float32 (H, W), above 0.5 where skin is compared.
    """
    codes = np.arange(256, dtype=np.float32)[:, None]
    theirs = target[weight > 0.5]
    if len(theirs) < _FEWEST:
        return np.asarray(np.repeat(codes, 3, axis=1)[:, None], np.uint8)
    rank = int(_KNEE * (len(theirs) - 1))
    knee = np.partition(theirs, rank, axis=0)[rank].astype(np.float32)
    bent = np.minimum(codes, knee + np.maximum(codes - knee, 0) * np.float32(_ABOVE))
    return np.asarray(np.rint(bent), np.uint8)[:, None]


def _moments(colours: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance (3, 3), a little raised, and mean (3,) of colours (N, 3)."""
    # Sums by hand: a threaded matrix product over a few thousand rows costs more in waiting than in adding.
    channels = [np.ascontiguousarray(colours[:, channel], np.float32) for channel in range(3)]
    mean = np.array([float(channel.mean()) for channel in channels])
    centred = [channel - np.float32(middle) for channel, middle in zip(channels, mean, strict=True)]
    covariance = np.array([[float((one * other).mean()) for other in centred] for one in centred])
    return covariance + 2.0 * np.eye(3), mean


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(values, 1e-6) ** exponent) @ axes.T)
