"""How calm a swapped face is: its motion is taken away first, then what still changes is measured.

Each frame's face is unwrapped to the frontal atlas through the landmarks of the *original* frame, for original and
result alike. Landmarks of single frames tremble, and a trembling measure would add the texture's contrast times its
own noise to both sides. So each frame's landmarks are averaged with those of the frames around it, after these were
carried there along the dense optical flow of the original (Kroeger et al. 2016): the network's noise goes, the real
motion stays. A swap that follows the face scores low, one that swims or trembles on it scores high, and an overlay
that stands still while the face moves does too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points, coverage
from faceflow.vision.mesh_raster import draw_mesh

Gray = NDArray[np.uint8]
Floats = NDArray[np.float32]

REACH, SIGMA = 4, 1.6
"""Frames on either side that are averaged, and the deviation of their Gaussian weights."""
_FLOW_SIGMA = 1 / 60
"""Blur of the optical flow in heights of the face: its own noise must not count as motion."""
_TEXEL = 4


@dataclass(frozen=True)
class Calm:
    """How the unwrapped face changes, in 8-bit luma codes.

    Attributes:
        first: mean absolute difference of consecutive frames.
        second: mean absolute second difference.
        steps: the first difference of each pair of consecutive frames, by the number of the later one.
    """

    first: float
    second: float
    steps: dict[int, float]


def steady_landmarks(frames: Sequence[Gray], landmarks: Sequence[Floats]) -> list[Floats]:
    """Landmarks of consecutive frames of one shot, averaged along the frames' optical flow.

    Args:
        frames: uint8 (H, W), the original.
        landmarks: float32 (468, 3) of each of them, in pixels.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    sigma = max(1.0, _FLOW_SIGMA * float(np.ptp(landmarks[0][:, 1]))) if landmarks else 1.0
    ahead, back = [], []
    for one, other in pairwise(frames):
        ahead.append(cv2.GaussianBlur(flow.calc(one, other, None), (0, 0), sigma))
        back.append(cv2.GaussianBlur(flow.calc(other, one, None), (0, 0), sigma))
    steady = []
    for number, own in enumerate(landmarks):
        total, weights = own[:, :2].astype(np.float64), 1.0
        for way, fields in ((1, back), (-1, ahead)):
            for distance in range(1, REACH + 1):
                beside = number + way * distance
                if not 0 <= beside < len(frames):
                    break
                points: NDArray[Any] = landmarks[beside][:, :2]
                for at in range(beside, number, -way):
                    points = points + _read(fields[at - 1 if way > 0 else at], points)
                weight = float(np.exp(-distance * distance / (2 * SIGMA * SIGMA)))
                total, weights = total + weight * points, weights + weight
        steady.append(np.column_stack([total / weights, own[:, 2]]).astype(np.float32))
    return steady


def calm(frames: Sequence[Gray], landmarks: Sequence[Floats], first_number: int = 0) -> Calm:
    """How much the faces at these landmarks change over consecutive frames, where a swap shows."""
    shown = coverage()[::_TEXEL, ::_TEXEL] > 0.5
    faces = [
        _unwrapped(frame, points)[shown].astype(np.float32) for frame, points in zip(frames, landmarks, strict=True)
    ]
    first = np.abs(np.diff(faces, axis=0)).mean(axis=1)
    second = np.abs(np.diff(faces, n=2, axis=0))
    steps = {first_number + number + 1: float(step) for number, step in enumerate(first)}
    return Calm(float(first.mean()), float(second.mean()), steps)


def _read(field: Any, points: NDArray[Any]) -> NDArray[np.float64]:
    """The flow at these points."""
    x, y = (np.ascontiguousarray(points[None, :, axis], np.float32) for axis in range(2))
    return np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float64)


def _unwrapped(frame: Gray, landmarks: Floats) -> Gray:
    """Luma of the face in atlas space, uint8 (128, 128): the same skin at the same place in every frame."""
    height, width = frame.shape
    flat = landmarks[:, :2] / np.array([width, height], np.float32)
    values = np.column_stack([flat, np.ones(len(flat), np.float32)]).clip(0, 1).astype(np.float32)
    side = ATLAS_PX // _TEXEL
    points = (atlas_points() + np.array([0.5, 0.5, 0], np.float32)) / np.float32(_TEXEL) - np.array([0.5, 0.5, 0])
    drawn, _ = draw_mesh(points.astype(np.float32), values, (side, side))
    x, y = (np.ascontiguousarray(drawn[..., axis] * size) for axis, size in enumerate((width, height)))
    return np.asarray(cv2.remap(frame, x, y, cv2.INTER_LINEAR), np.uint8)
