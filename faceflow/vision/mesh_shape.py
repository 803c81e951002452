"""Gives the target's inner face the source's proportions.

A likeness is shape as much as skin: how long the nose is, how the brows run, how far they are from the eyes, where the
mouth sits. `neutral_shape` says how a source's face lies in frontal space; `reshaped` moves the target's mesh towards
it; `carried_along` bends the target's picture by the same field, so that what the swap leaves of it (eyes, the mouth's
opening, the seam) fits what is drawn. At the outline nothing moves: hair, ears and neck stay where they are.

What expression moves is not taken over. Each eye and the mouth move as a whole, by less than they differ, so blinks,
gaze, speech and smiles keep their size; only what is equal on both sides counts, so a crooked smile or a raised
brow stays. Both shapes are compared in the same frame and space, so the field follows the head without lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_landmarker import LANDMARKS, LEFT_EYE, RIGHT_EYE
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_topology import (
    BROWS,
    INNER_LIPS,
    OUTER_LIPS,
    OVAL,
    closed_triangles,
    frontal,
    mirror,
    similarity_3d,
)
from faceflow.vision.shapes import Picture

Floats = NDArray[np.float32]

_EYES, _LIPS, _BROWS_MOVE, _BROWS_FORM, _NOSE, _REST = 0.5, 0.15, 0.5, 0.75, 1.0, 0.8
"""Share of the difference that is taken over: where eyes and mouth sit (chosen so that their landmarks move by less
than 4% of the distance of the eyes), where the brows sit and how they run, the nose, and all else."""
_REACH, _NOSE_REACH, _OVAL_REACH = 0.03, 0.10, 0.09
"""Distances, in face heights, over which eyes, lips and brows hand over to the rest, the nose does, and over which all
of it fades to nothing at the outline."""
_SMOOTH = 0.012
"""Sigma, in face heights, of the blur along the mesh that keeps the field smooth."""
_UPPER_LIP = (0, 37, 267, 13, 82, 312)
"""Points that say where the mouth sits: they move least with speech."""
_NOSE_POINTS = (1, 2, 4, 5, 6, 98, 195, 327)
_STILL_FROM_LIPS, _STILL_ABOVE = 0.06, 0.78
"""Distance from the lips and height (0 top of the forehead, 1 chin) of the points that tell the pose: speech moves the
others."""
_PROFILE = (0.30, 0.60)
"""Cosine of the head's turn at which the shape is left as it is, and from which it is changed fully."""
_WHOLE_PX = 0.5
"""Displacement from which the bent picture replaces the target altogether."""
_BOTH_IN_ONE: Any = None
"""The second map of `cv2.remap` where the first holds x and y; its type stub does not know of that."""


def neutral_shape(faces: Sequence[Floats]) -> Floats:
    """float32 (468, 3): one person's face in frontal space, equal on both sides, a mean over `faces` (landmarks)."""
    shapes = []
    for landmarks in faces:
        scale, rotation, offset = _pose(landmarks)
        shapes.append(_even(scale * landmarks @ rotation.T + offset))
    return np.asarray(np.mean(shapes, axis=0), np.float32)


def reshaped(landmarks: Floats, shape: Floats) -> Floats:
    """The landmarks (float32 (468, 3), pixels) with the inner face moved towards `shape` (see `neutral_shape`)."""
    scale, rotation, offset = _pose(landmarks)
    low, high = _PROFILE
    share = float(np.clip((rotation[2, 2] - low) / (high - low), 0, 1))
    if share == 0:
        return landmarks
    own = scale * landmarks @ rotation.T + offset
    change = _influence() @ _even(shape - own).astype(np.float32)
    # Rows times the rotation: back from frontal space to the picture.
    return np.asarray(landmarks + change @ (rotation * share / scale), np.float32)


def carried_along(target: Picture, before: Floats, after: Floats, cell_px: int) -> tuple[Picture, NDArray[np.uint8]]:
    """The target bent as its mesh was.

    Args:
        target: uint8 (H, W, 3), BGR.
        before: float32 (468, 3), the landmarks in its pixels.
        after: float32 (468, 3), where they were moved to.
        cell_px: pixels that make one cell of the grid on which the field is drawn.

    Returns:
        uint8 (H, W, 3), and uint8 (H, W), 0 where nothing moved, 255 where the bent picture must be shown.
    """
    height, width = target.shape[:2]
    moves = (before - after)[:, :2]
    largest = max(1e-3, float(np.abs(moves).max()))
    cells = np.column_stack([(after[:, :2] + 0.5) / cell_px - 0.5, after[:, 2] / cell_px]).astype(np.float32)
    values = np.column_stack([moves / (2 * largest) + 0.5, np.full(LANDMARKS, 0.5)]).astype(np.float32)
    grid = (width // cell_px, height // cell_px)
    drawn, _ = draw_mesh(cells, values, grid, closed_triangles(), background=0.5)
    calm = cv2.blur(drawn[..., :2], (3, 3))  # the nose of a turned head ends abruptly
    field = cv2.resize((calm - np.float32(0.5)) * np.float32(2 * largest), (width, height))
    # OpenCV moves four channels in half the time of three.
    four = cv2.cvtColor(target, cv2.COLOR_BGR2BGRA)
    bent = cv2.remap(
        four, field, _BOTH_IN_ONE, cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    size = cv2.magnitude(*cv2.split(field))
    bent = cv2.cvtColor(bent, cv2.COLOR_BGRA2BGR)
    return np.asarray(bent, np.uint8), np.asarray(cv2.convertScaleAbs(size, alpha=255 / _WHOLE_PX), np.uint8)


def _pose(landmarks: Floats) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation and translation that bring landmarks to frontal space, by the points that speech leaves alone."""
    still = _still()
    return similarity_3d(landmarks[still], frontal()[still])


def _even(points: NDArray[Any]) -> NDArray[Any]:
    """The part of shapes or differences (468, 3) that is equal on both sides."""
    return (points + points[mirror()] * (-1, 1, 1)) / 2


@lru_cache(maxsize=1)
def _still() -> NDArray[np.int64]:
    far = _distance((*OUTER_LIPS, *INNER_LIPS)) > _STILL_FROM_LIPS
    return np.flatnonzero(far & (frontal()[:, 1] < _STILL_ABOVE))


@lru_cache(maxsize=1)
def _influence() -> Floats:
    """float32 (468, 468): each point's move as a sum of differences of all points."""
    lips = [*OUTER_LIPS, *INNER_LIPS]
    half = len(BROWS) // 2
    brows = [list(BROWS[:half]), list(BROWS[half:])]
    wholes = [(list(LEFT_EYE), list(LEFT_EYE), _EYES), (list(RIGHT_EYE), list(RIGHT_EYE), _EYES)]
    wholes.append((lips, list(_UPPER_LIP), _LIPS))

    share = np.full(LANDMARKS, _REST)
    share += (_NOSE - share) * _near(_NOSE_POINTS, 0.02, _NOSE_REACH)
    for points, value in ((BROWS, (_BROWS_FORM + _BROWS_MOVE) / 2), ((*LEFT_EYE, *RIGHT_EYE), _EYES), (lips, _LIPS)):
        share += (value - share) * _near(points, 0.0, _REACH)
    direct = np.diag(share)
    for moved, told_by, value in wholes:
        direct[moved] = 0
        direct[np.ix_(moved, told_by)] = value / len(told_by)
    for brow in brows:
        direct[brow] = 0
        direct[brow, brow] = _BROWS_FORM
        direct[np.ix_(brow, brow)] += (_BROWS_MOVE - _BROWS_FORM) / half
    direct *= (1 - _near(OVAL, 0.0, _OVAL_REACH))[:, None]

    flat = frontal()[:, :2].astype(np.float64)
    squares = np.square(flat[:, None] - flat[None]).sum(axis=2)
    blur = np.exp(-squares / (2 * _SMOOTH * _SMOOTH))
    blur[:, sorted({*LEFT_EYE, *RIGHT_EYE, *lips})] *= 2
    influence = blur / blur.sum(axis=1, keepdims=True) @ direct
    for moved, _, _ in wholes:
        influence[moved] = influence[moved].mean(axis=0)
    influence[list(OVAL)] = 0
    return np.asarray(influence, np.float32)


def _distance(points: Sequence[int]) -> NDArray[np.float64]:
    """float64 (468,): distance of each point from the nearest of `points`, in face heights."""
    flat = frontal()[:, :2].astype(np.float64)
    return np.asarray(np.linalg.norm(flat[:, None] - flat[None, list(points)], axis=2).min(axis=1))


def _near(points: Sequence[int], whole: float, reach: float) -> NDArray[np.float64]:
    """float64 (468,): 1 up to `whole` face heights from `points`, 0 from `reach` on."""
    share = ((_distance(points) - whole) / (reach - whole)).clip(0, 1)
    return np.asarray(1 - share * share * (3 - 2 * share))
