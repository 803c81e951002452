"""The shape of the face mesh: where its 468 points lie on a frontal face, and which three make a triangle.

The points are those of MediaPipe's face mesh. The frontal positions are a mean of landmark results over faces of
several people, aligned by 3D similarities and made symmetric; the triangles are the Delaunay triangulation of that
mean with the mouth opened a little, minus the triangles inside the rings of the eyes and of the inner lips. The
figures lie in `data/` so that every machine draws the same mesh.

Frontal space: x to the right from the middle of the face, y down from the top of the forehead (0) to the chin (1),
z away from the viewer; the unit is the height of the face.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_landmarker import LEFT_EYE, RIGHT_EYE

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Ring of the face's outline, clockwise in the picture from the middle of the forehead."""
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""Ring of the mouth's opening."""
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
"""Points of both eyebrows."""
HOLES = (LEFT_EYE, RIGHT_EYE, INNER_LIPS)


def _table(name: str) -> NDArray[np.float64]:
    text = resources.files("faceflow.vision").joinpath("data", name).read_text(encoding="utf-8")
    return np.array([line.split(",") for line in text.splitlines()[1:]], np.float64)


@lru_cache(maxsize=1)
def frontal() -> NDArray[np.float32]:
    """float32 (468, 3): the mean face, seen from the front, in frontal space."""
    return _table("frontal_face.csv")[:, :3].astype(np.float32)


@lru_cache(maxsize=1)
def mirror() -> NDArray[np.int64]:
    """int64 (468,): the number of each point's mirror image."""
    return _table("frontal_face.csv")[:, 3].astype(np.int64)


@lru_cache(maxsize=1)
def triangles() -> NDArray[np.int32]:
    """int32 (T, 3): points of each triangle, the first edge to the second clockwise in the picture."""
    corners = _table("frontal_triangles.csv").astype(np.int32)
    flat = frontal()[:, :2]
    one, two = flat[corners[:, 1]] - flat[corners[:, 0]], flat[corners[:, 2]] - flat[corners[:, 0]]
    turned = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] < 0
    corners[turned] = corners[turned][:, [0, 2, 1]]
    return np.ascontiguousarray(corners)


@lru_cache(maxsize=1)
def closed_triangles() -> NDArray[np.int32]:
    """int32 (T, 3): `triangles` and fans over eyes and mouth, for what must go on smoothly across the holes."""
    fans = [(ring[0], one, other) for ring in HOLES for one, other in pairwise(ring[1:])]
    return np.ascontiguousarray(np.vstack([triangles(), np.array(fans, np.int32)]))


def facing(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much each point's surface looks at the viewer: float32 (468,), cosine, 1 frontal, below 0 turned away.

    Args:
        points: float32 (468, 3), x, y and z in the same scale.
    """
    corners = triangles()
    one = points[corners[:, 1]] - points[corners[:, 0]]
    two = points[corners[:, 2]] - points[corners[:, 0]]
    # Longer normals for larger triangles: the mean below is weighted by area.
    normals = (
        one[:, 1] * two[:, 2] - one[:, 2] * two[:, 1],
        one[:, 2] * two[:, 0] - one[:, 0] * two[:, 2],
        one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0],
    )
    around, count = corners.T.reshape(-1), len(points)
    x, y, z = (np.bincount(around, np.tile(axis, 3), count) for axis in normals)
    return np.asarray(z / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9), np.float32)


def similarity_3d(
    source: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation (3, 3) and translation (3,) that bring `source` to `target` with least squares (Umeyama 1991)."""
    source_mean, target_mean = source.mean(0, dtype=np.float64), target.mean(0, dtype=np.float64)
    centred = source - source_mean
    left, spread, right = np.linalg.svd((target - target_mean).T @ centred)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ sign @ right
    scale = float((spread * np.diag(sign)).sum() / np.square(centred).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean
