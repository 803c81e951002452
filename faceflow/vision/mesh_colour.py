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

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.shapes import Picture

Floats = NDArray[np.float32]

_GAINS = (0.95, 1.15)
"""Least and largest gain along any direction of colour space: the target's contrast is mostly its light, which comes
in by itself; more would exaggerate the source's features."""
_REACH = 0.10
"""Sigma of the light's blur as a share of the face's width."""
_LIGHT, _TINT = 0.9, 1.0
"""How much of the target's low-frequency brightness and of its tint is taken over: a face must fit its neck."""
_TAKEN = np.array(np.eye(3) * _TINT + np.array([[0.114, 0.587, 0.299]] * 3) * (_LIGHT - _TINT), np.float32)
"""Brightness (ITU-R BT.601) and tint of a difference in B, G, R by these shares."""
_SPREAD = np.array([12.0, 5.0, 5.0], np.float32), np.array([40.0, 6.5, 6.5], np.float32)
"""Least and largest deviation of a face's skin in 8-bit CIE Lab: it is not trusted to be more even, nor more motley
(then what lies behind a profile would pass for skin)."""
SKIN = (2.0, 3.6)
"""Deviations from the skin's median within which a pixel is surely skin, and beyond which it surely is not."""
FACE = (6.0, 10.0)
"""The same for what can still be the face in another light: a reddened nose, a shadow."""
_KNEE, _ABOVE = 0.96, 0.3
"""Share of the target's skin that is darker than the knee, and the slope above it."""
_DARK = 0.75
"""Share of the skin's mean luma below which a colour is that of a feature: brows, lashes, nostrils, a beard."""
_LEAST_SHARE = 0.4
_FEWEST = 40
_HALVED_FROM = 2.5
_CODES = np.arange(256, dtype=np.float32)
_SUM = np.ones((1, 3), np.float32)


def off_skin(target: Picture, where: Floats) -> Floats:
    """float32 (H, W): how far each pixel of the target is from the colour of its skin, in deviations.

    Args:
        target: uint8 (H, W, 3), BGR.
        where: float32 (H, W), above 0.5 where most of what is seen is skin.

    Returns:
        All 0 when there is too little to tell. `share_within` makes a share of it.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(target, (3, 3), 0.8), cv2.COLOR_BGR2Lab)
    sample = lab[where > 0.5]
    if len(sample) < _FEWEST:
        return np.zeros(where.shape, np.float32)
    # There are only 256 values a channel: medians are read off histograms, and distances are looked up.
    table = np.empty((256, 3), np.float32)
    for channel, (least, most) in enumerate(zip(*_SPREAD, strict=True)):
        middle = _quantile(sample[:, channel], 0.5)
        away = _CODES - np.float32(middle)
        deviation = 1.4826 * _quantile(np.abs(away).astype(np.int64)[sample[:, channel]], 0.5)
        # Light skin is skin in a highlight, so brightness counts downwards only.
        counted = np.minimum(away, 0) if channel == 0 else away
        table[:, channel] = np.square(counted / np.float32(np.clip(deviation, least, most)))
    squares = cv2.LUT(lab, table[:, None])
    return np.asarray(cv2.sqrt(cv2.transform(squares, _SUM)), np.float32)


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
    values, axes = _eigen(own)
    root = (axes * np.sqrt(values)) @ axes.T
    inverse = (axes / np.sqrt(values)) @ axes.T
    values, axes = _eigen(root @ their @ root)
    transfer = inverse @ ((axes * np.sqrt(values)) @ axes.T) @ inverse
    gains, axes = _eigen((transfer + transfer.T) / 2)
    matrix = (axes * gains.clip(*_GAINS)) @ axes.T
    return matrix.astype(np.float32), (their_mean - matrix @ own_mean).astype(np.float32)


def skin_brightness(source: Picture, weight: Floats) -> float:
    """The luma from which the source's colours are skin, 1 to 255; 1 when there is too little skin to compare."""
    chosen = np.asarray(weight > 0.5)
    if np.count_nonzero(chosen) < _FEWEST:
        return 1.0
    return max(1.0, _DARK * float(cv2.mean(cv2.cvtColor(source, cv2.COLOR_BGR2GRAY), chosen.view(np.uint8))[0]))


def taking(source: Picture, bright: float) -> Floats:
    """float32 (H, W): how much of an offset each colour of the source takes, 1 for skin.

    What is darker than skin (brows, lashes, nostrils, a beard) takes less in proportion, as if more light fell on it:
    a full offset would turn dark hair grey, or tint it.

    Args:
        source: uint8 (H, W, 3), BGR.
        bright: see `skin_brightness`.
    """
    shares = np.minimum(_CODES / np.float32(bright), 1)
    return np.asarray(cv2.LUT(cv2.cvtColor(source, cv2.COLOR_BGR2GRAY), shares), np.float32)


def recoloured(source: Picture, matrix: Floats, offset: Floats, share: Floats) -> Floats:
    """The source's colours moved: `matrix @ colour + share * offset`, float32 (H, W, 3).

    Args:
        source: uint8 (H, W, 3), BGR.
        matrix: float32 (3, 3).
        offset: float32 (3,) or (H, W, 3).
        share: float32 (H, W), see `taking`.
    """
    moved = cv2.transform(source.astype(np.float32), matrix)
    added = (
        cv2.merge([share * offset[channel] for channel in range(3)])
        if offset.ndim == 1
        else cv2.multiply(offset, cv2.merge([share] * 3))
    )
    return np.asarray(cv2.add(moved, added), np.float32)


def light_over(
    source: Floats, target: Picture, weight: Floats, face_width_px: float, share: Floats | None = None
) -> Floats:
    """What must be added to `source` to stand in the target's light: float32 (H, W, 3), BGR, low-frequency.

    Args:
        source: float32 (H, W, 3), BGR, rendered and colour-matched.
        target: uint8 (H, W, 3), BGR.
        weight: float32 (H, W), where both show skin.
        face_width_px: width of the face in pixels of these pictures.
        share: float32 (H, W), how much of it each pixel will take (see `taking`); all of it where left out.
    """
    missing = cv2.subtract(target, source, dtype=cv2.CV_32F)
    if share is not None:  # least squares: what is taken in part must be larger, and has less say
        sure = np.maximum(share, np.float32(_LEAST_SHARE))
        missing, weight = cv2.divide(missing, cv2.merge([sure] * 3)), weight * sure * sure
    shares = cv2.merge([weight] * 3)
    sigma, size = max(0.8, _REACH * face_width_px), (weight.shape[1], weight.shape[0])
    layers = [cv2.multiply(missing, shares), shares]
    if sigma >= _HALVED_FROM:  # nothing is lost at half the size
        sigma, half = sigma / 2, (-(-size[0] // 2), -(-size[1] // 2))
        layers = [cv2.resize(layer, half, interpolation=cv2.INTER_AREA) for layer in layers]
    spread, total = (cv2.GaussianBlur(layer, (0, 0), sigma) for layer in layers)
    light = cv2.transform(spread / np.maximum(total, np.float32(1e-3)), _TAKEN)
    left_over = np.subtract(cv2.sumElems(layers[0]), cv2.sumElems(cv2.multiply(light, layers[1])))[:3]
    light = light + (left_over / max(1e-6, cv2.sumElems(layers[1])[0])).astype(np.float32)
    return np.asarray(cv2.resize(light, size), np.float32)


def highlights(target: Picture, weight: Floats) -> NDArray[np.uint8]:
    """A table, uint8 (256, 1, 3), that bends each channel where it exceeds what the target's skin shows.

    A source that was lit from the front is shinier than most targets; where red is at its end already, a highlight
    would only raise blue and green, and the skin would look bleached.

    Args:
        target: uint8 (H, W, 3), BGR.
        weight: float32 (H, W), above 0.5 where skin is compared.
    """
    codes = _CODES[:, None]
    theirs = target[weight > 0.5]
    if len(theirs) < _FEWEST:
        return np.asarray(np.repeat(codes, 3, axis=1)[:, None], np.uint8)
    knee = np.array([_quantile(theirs[:, channel], _KNEE) for channel in range(3)], np.float32)
    bent = np.minimum(codes, knee + np.maximum(codes - knee, 0) * np.float32(_ABOVE))
    return np.asarray(np.rint(bent), np.uint8)[:, None]


def _moments(colours: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance (3, 3), a little raised, and mean (3,) of colours (N, 3)."""
    # OpenCV's product: a threaded one over a few thousand rows costs more in waiting than in adding.
    values = colours.astype(np.float32)
    mean = np.array(cv2.mean(values[:, None])[:3])
    covariance = cv2.mulTransposed(values - mean.astype(np.float32), True, scale=1 / len(values), dtype=cv2.CV_64F)
    return np.asarray(covariance + 2.0 * np.eye(3), np.float64), mean


def _eigen(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (3,), at least 1e-6, and eigenvectors (3, 3) in columns of a symmetric matrix."""
    _, values, rows = cv2.eigen(matrix)
    return np.maximum(np.asarray(values, np.float64)[:, 0], 1e-6), np.asarray(rows, np.float64).T


def _quantile(values: NDArray[Any], share: float) -> int:
    """The value (0 to 255) below or at which `share` of `values` lies."""
    counts = np.bincount(values, minlength=256).cumsum()
    return int(np.searchsorted(counts, share * (len(values) - 1) + 1))
