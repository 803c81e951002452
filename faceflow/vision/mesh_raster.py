"""Draws the face mesh: three numbers a point, interpolated over its triangles, nearer ones in front.

`cv2.triangleRasterize` is a perspective renderer. Each point is put where its ray meets its depth, so that it falls
on exactly the pixel that is asked for whatever its depth, which then only decides what is in front.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.mesh_topology import triangles

_NEAR, _SPAN, _FAR = 20.0, 4.0, 100.0  # a shallow range far away keeps the interpolation all but linear
_VIEW = np.eye(4, dtype=np.float32)[:3]
_FIELD_OF_VIEW = np.pi / 2  # half the height is then at distance times 1


def draw_mesh(
    points: NDArray[np.float32],
    values: NDArray[np.float32],
    size_px: tuple[int, int],
    corners: NDArray[np.int32] | None = None,
    background: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Interpolates per-point values over the mesh.

    Args:
        points: float32 (468, 3), x and y in pixels (pixel centres at whole numbers), z larger is farther.
        values: float32 (468, 3), each 0 to 1.
        size_px: width and height of the picture to draw.
        corners: int32 (T, 3), the triangles; those of `triangles` where it is left out.
        background: the values where there is no mesh.

    Returns:
        float32 (height, width, 3), and bool (height, width), True where there is.
    """
    width, height = size_px
    z = points[:, 2]
    depth = _NEAR + _SPAN * (z - z.min()) / max(1e-6, float(np.ptp(z)))
    x = ((points[:, 0] + 0.5) * 2 - width) / height * depth
    y = (1 - (points[:, 1] + 0.5) / height * 2) * depth
    vertices = np.stack([x, y, -depth], axis=1).astype(np.float32)
    settings = cv2.TriangleRasterizeSettings()
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    drawn = np.full((height, width, 3), background, np.float32)
    depths = np.full((height, width), _FAR, np.float32)
    cv2.triangleRasterize(
        vertices,
        triangles() if corners is None else corners,
        np.ascontiguousarray(values, np.float32),
        drawn,
        depths,
        _VIEW,
        _FIELD_OF_VIEW,
        1.0,
        _FAR,
        settings,
    )
    return drawn, depths < _FAR - 1
