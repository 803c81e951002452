"""The box mask: the whole crop, fading towards its border, so that no edge is seen where the crop ends."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=32)
def box_mask(side_px: int, feather: float) -> NDArray[np.uint8]:
    """uint8 (S, S), read-only: 255 in the middle, 0 along the border.

    Args:
        side_px: side of the crop.
        feather: share of half the side over which it fades, 0 to 1; 0 leaves a hard edge one pixel from the border.
    """
    reach = max(1.0, feather * side_px / 2)
    inner = np.zeros((side_px, side_px), np.uint8)
    inner[1:-1, 1:-1] = 255
    # Distance to the border, so that corners are round; cubic, so that neither end of the fade shows.
    share = (cv2.distanceTransform(inner, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / reach).clip(0, 1)
    mask = np.asarray(np.rint(255 * share * share * (3 - 2 * share)), np.uint8)
    mask.flags.writeable = False
    return mask
