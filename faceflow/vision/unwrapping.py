"""A face of a frame laid flat, small: the same skin at the same place, whatever the pose.

Faces of different frames can be compared texel by texel once each is drawn from its own mesh into the frontal atlas.
`OWN_PX` is enough to tell a finger from a cheek, and small enough to do it for every face of every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points, coverage
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_topology import facing
from faceflow.vision.shapes import FrameView

OWN_PX = 64
"""Side of the flat face in texels."""
LEAST_FACE_PX = 40.0
"""Longer side of a face in the frame below which it shows too little to compare."""

_PATCH_PX = 80
_FACE_SHARE = 0.92
"""Share of the patch that the face's longer side takes: about a pixel a texel."""
_CALM = 0.63
"""Sigma of a blur that takes away noise and coding, in texels."""
_TURNED = (0.3, 0.6)
"""Cosine to the viewer at which a texel counts for nothing, and from which it counts fully."""
_BOTH_IN_ONE: Any = None
"""The second map of `cv2.remap` where the first holds x and y; its type stub does not know of that."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FlatFace:
    """A face in atlas space.

    Attributes:
        lab: uint8 (64, 64, 3), 8-bit CIE Lab.
        seen: uint8 (64, 64), how squarely each texel looks at the viewer, 255 where it counts fully; 0 off the face.
    """

    lab: NDArray[np.uint8]
    seen: NDArray[np.uint8]


def flat_face(view: FrameView, landmarks: Floats) -> FlatFace | None:
    """The face with these landmarks (float32 (468, 3), frame pixels); None where it is too small."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    extent = float((high - low).max())
    if extent < LEAST_FACE_PX:
        return None
    scale = _PATCH_PX * _FACE_SHARE / extent
    offset = (_PATCH_PX - 1) / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)
    patch = view.patch(matrix, _PATCH_PX)
    flat = landmarks[:, :2] * np.float32(scale) + offset
    values = np.column_stack([flat / _PATCH_PX, facing(landmarks)]).clip(0, 1).astype(np.float32)
    drawn, _ = draw_mesh(_points(), values, (OWN_PX, OWN_PX))
    places = np.ascontiguousarray(drawn[..., :2]) * np.float32(_PATCH_PX)
    looked_up = cv2.remap(patch, places, _BOTH_IN_ONE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lab = cv2.cvtColor(cv2.GaussianBlur(looked_up, (0, 0), _CALM), cv2.COLOR_BGR2Lab)
    low_cosine, high_cosine = _TURNED
    share = ((drawn[..., 2] - low_cosine) / (high_cosine - low_cosine)).clip(0, 1)
    seen = share * share * (3 - 2 * share) * own_face()
    return FlatFace(np.asarray(lab, np.uint8), np.asarray(np.rint(seen * 255), np.uint8))


@lru_cache(maxsize=1)
def own_face() -> Floats:
    """float32 (64, 64): 1 where the swap shows at all, so neither inside the eyes nor inside the mouth."""
    return np.asarray(own_coverage() > 0, np.float32)


@lru_cache(maxsize=1)
def own_coverage() -> Floats:
    """float32 (64, 64): how much of the swap shows (see `mesh_atlas.coverage`)."""
    return np.asarray(cv2.resize(coverage(), (OWN_PX, OWN_PX), interpolation=cv2.INTER_AREA), np.float32)


@lru_cache(maxsize=1)
def _points() -> Floats:
    return np.asarray((atlas_points() + 0.5) * np.float32(OWN_PX / ATLAS_PX) - 0.5, np.float32)
