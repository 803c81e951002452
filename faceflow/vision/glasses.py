"""Glasses that are always there: no other time of the clip shows the face without them.

Rims are dark, narrow, and where a face never is both: below each eye from corner to corner, and across the bridge of
the nose. They are looked for in a flat face, a reference's mean or that of a single picture; all three places must
show them, or two where one side is turned away.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points
from faceflow.vision.unwrapping import OWN_PX, own_face

_NARROW_PX = 7
"""Texels; what is dark and narrower stands out in a black top-hat."""
_LEAST = 16
"""8-bit codes of lightness by which a rim is darker than what is beside it. Bare faces show 11 at most in all three
places (measured on the faces of three clips and pictures), drawn rims 50 and more."""
_FEWEST_COLUMNS = 4
_SHARE = (25, 30)
"""Percent of the columns below an eye, and across the bridge, that may be without."""
_OUTER, _INNER, _LID = (33, 263), (133, 362), (145, 374)
"""Mesh points: outer and inner corners of the eyes, middle of the lower lids, left and right in the picture."""
_BETWEEN, _BROW, _CHEEK = 168, 105, 50


def rims(lightness: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The rims of glasses.

    Args:
        lightness: uint8 (64, 64), L of 8-bit CIE Lab, in atlas space.
        seen: uint8 (64, 64), above 128 where the face is seen.

    Returns:
        uint8 (64, 64), 255 on the rims; None where there are no glasses.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_NARROW_PX, _NARROW_PX))
    dark = np.asarray(cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, disc), np.uint8)
    below, bridge = _places()
    strength = []
    for rows, columns in below:
        inside = (seen[rows, columns] > 128).mean(axis=0) > 0.6
        if inside.sum() >= _FEWEST_COLUMNS:
            strength.append(float(np.percentile(dark[rows, columns].max(axis=0)[inside], _SHARE[0])))
    if not strength:
        return None
    strength.append(float(np.percentile(dark[bridge].max(axis=0), _SHARE[1])))
    level = min(strength)
    if level < _LEAST:
        return None
    share = ((dark * _around_eyes() - 0.25 * level) / (0.35 * level)).clip(0, 1).astype(np.float32)
    count, pieces = cv2.connectedComponents((share > 0.3).astype(np.uint8))
    kept = np.zeros(count, np.bool_)
    for rows, columns in (*below, bridge):
        kept[pieces[rows, columns]] = True
    kept[0] = False
    return np.asarray(np.rint(share * kept[pieces] * 255), np.uint8)


@lru_cache(maxsize=1)
def _places() -> tuple[list[tuple[slice, slice]], tuple[slice, slice]]:
    """Rows and columns below each eye, and of the bridge."""
    points = np.rint((atlas_points()[:, :2] + 0.5) * (OWN_PX / ATLAS_PX) - 0.5).astype(int)
    below = []
    for outer, inner, lid in zip(_OUTER, _INNER, _LID, strict=True):
        left, right = sorted((int(points[outer, 0]), int(points[inner, 0])))
        below.append((slice(int(points[lid, 1]) + 3, int(points[lid, 1]) + 12), slice(left, right + 1)))
    middle = int(points[_BETWEEN, 1])
    columns = slice(int(points[_INNER[0], 0]) + 1, int(points[_INNER[1], 0]))
    return below, (slice(middle - 3, middle + 7), columns)


@lru_cache(maxsize=1)
def _around_eyes() -> NDArray[np.float32]:
    """float32 (64, 64): 1 on the face from the brows to the cheeks."""
    rows = np.rint((atlas_points()[[_BROW, _CHEEK], 1] + 0.5) * (OWN_PX / ATLAS_PX) - 0.5).astype(int)
    area = np.zeros((OWN_PX, OWN_PX), np.float32)
    area[max(0, int(rows[0]) - 4) : int(rows[1]) + 3] = 1
    return area * own_face()
