"""The face mesh: 468 points of one face, seen through an upright square region.

The network (MediaPipe `face_landmark`) wants the face in the middle of a 192 x 192 picture, eyes level, the square
one and a half times the face (MediaPipe's `face_detection_front_detection_to_roi`: long side x 1.5, level eyes).
Regions are snapped to a coarse grid in position, size and angle: two runs that come to a frame over
different histories (two segments that overlap) then look through exactly the same window and get the same points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.shapes import Face, FrameView, Sight
from faceflow.vision.shipped_models import FACE_LANDMARKS, load_model

LANDMARKS = 468
LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""Ring of the eye that is left in the picture (MediaPipe's canonical face model numbers)."""
RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT = 4, 61, 291
LEAST_PRESENCE = 0.5
"""Presence score below which the region holds no face (MediaPipe's tracking threshold)."""

_INPUT_PX = 192
_REGION_SCALE = 1.5
_SIZE_STEP = 2.0 ** (1 / 12)
_PLACE_STEP = 1 / 40
_ANGLE_STEP = np.radians(2.5)


@dataclass(frozen=True, slots=True)
class Region:
    """An upright square around a face: centre (x, y) and side in frame pixels, angle in radians (clockwise)."""

    x: float
    y: float
    side: float
    angle: float

    def matrix(self, side_px: int) -> NDArray[np.float32]:
        """float32 (2, 3), frame -> a square of `side_px`."""
        scale = side_px / self.side
        cos, sin = np.cos(-self.angle) * scale, np.sin(-self.angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]])
        # Pixel centres: the middle of the patch is at (side - 1) / 2.
        offset = (side_px - 1) / 2 - linear @ (self.x, self.y)
        return np.asarray(np.hstack([linear, offset[:, None]]), np.float32)


def region_around(points: NDArray[np.float32], left_eye: NDArray[np.float32], right_eye: NDArray[np.float32]) -> Region:
    """The snapped region of a face with these points (float32 (N, 2), frame pixels) and eye centres."""
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * _REGION_SCALE
    across = right_eye - left_eye
    angle = float(np.arctan2(across[1], across[0]))
    side = float(_SIZE_STEP ** round(np.log(max(side, 4.0)) / np.log(_SIZE_STEP)))
    grid = side * _PLACE_STEP
    x, y = (round(float(value) / grid) * grid for value in (low + high) / 2)
    return Region(x, y, side, round(angle / _ANGLE_STEP) * float(_ANGLE_STEP))


def region_of_face(landmarks: NDArray[np.float32]) -> Region:
    """The region in which to look for a face that had these landmarks (float32 (468, 3)) a moment ago."""
    flat = landmarks[:, :2]
    return region_around(flat, flat[list(LEFT_EYE)].mean(0), flat[list(RIGHT_EYE)].mean(0))


def landmarks_in(view: FrameView, region: Region) -> tuple[NDArray[np.float32], float, Sight]:
    """Landmarks of the face in `region`.

    Returns:
        float32 (468, 3) in frame pixels (z in the same scale, smaller is nearer), the presence score, 0 to 1, and what
        was looked at.
    """
    matrix = region.matrix(_INPUT_PX)
    patch = view.patch(matrix, _INPUT_PX)
    tensor = np.ascontiguousarray(patch[None, ..., ::-1], np.float32)
    tensor *= np.float32(1 / 255)
    numbers, logit = load_model(FACE_LANDMARKS)(tensor)
    presence = 1.0 / (1.0 + float(np.exp(-np.clip(logit.reshape(-1)[0], -80, 80))))
    landmarks = numbers.reshape(LANDMARKS, 3).astype(np.float32)
    scale = np.float32(region.side / _INPUT_PX)
    inverse = np.linalg.inv(matrix[:, :2].astype(np.float64))
    flat = (landmarks[:, :2] - matrix[:, 2]) @ inverse.T
    sight = Sight(np.asarray(cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY), np.uint8), matrix)
    return np.column_stack([flat, landmarks[:, 2] * scale]).astype(np.float32), presence, sight


def face_of(landmarks: NDArray[np.float32], score: float, sight: Sight | None = None) -> Face:
    """The `Face` with these landmarks: box around them, five points taken from them."""
    flat = landmarks[:, :2]
    points = np.stack(
        [
            flat[list(LEFT_EYE)].mean(0),
            flat[list(RIGHT_EYE)].mean(0),
            flat[NOSE_TIP],
            flat[MOUTH_LEFT],
            flat[MOUTH_RIGHT],
        ]
    )
    box = np.concatenate([flat.min(0), flat.max(0)])
    return Face(box.astype(np.float32), points.astype(np.float32), score, landmarks, sight=sight)
