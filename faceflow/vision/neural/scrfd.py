"""SCRFD (det_10g of buffalo_l) through InsightFace's class: where faces are, with five points each.

Two looks. `in_overview` searches a whole frame, brought to 640 pixels as InsightFace does it, without the black border
beyond the next multiple of 32. `at` looks at one place at full sharpness, which costs a tenth and tells whether a face
is still there. Its window is snapped to a coarse grid (`face_landmarker.Region`), so that two runs which come to a
frame over different histories look through the same one.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.settings import Settings
from faceflow.vision.face_detector import overlap
from faceflow.vision.face_landmarker import Region, region_around
from faceflow.vision.model import Face, FrameView, Picture
from faceflow.vision.neural.insightface_session import NetworkSession, contract_mismatch, insightface_class
from faceflow.vision.neural.loading import load

Floats = NDArray[np.float32]

OVERVIEW_PX = 640
"""Long side at which a whole frame is searched: what the network was published for."""
WINDOW_PX = 192
"""Side of the window that shows one face, two thirds of it filled."""
LEAST_SCORE = 0.5
"""InsightFace's own threshold."""
_STEP_PX = 32
_NEAR = 0.2
"""Overlap with the expected box below which a face in the window is somebody else's."""


class Scrfd:
    """The detector. Safe to share between threads: one at a time.

    Raises:
        EngineError: `engine.package_missing`, `engine.contract_mismatch`, and as `loading.load`.
    """

    def __init__(self, settings: Settings) -> None:
        loaded = load("det_10g", settings, (WINDOW_PX, OVERVIEW_PX))
        session = NetworkSession(loaded.network, settings.engine.provider)
        self._detector: Any = insightface_class("model_zoo.scrfd", "SCRFD")(session=session)
        if not self._detector.use_kps:
            raise contract_mismatch(loaded, "a detector that gives five points")
        self._guard = threading.Lock()

    def in_overview(self, view: FrameView, least_score: float = LEAST_SCORE) -> list[Face]:
        """Faces of a whole frame, in its pixels, the largest first."""
        picture, scale = view.overview(OVERVIEW_PX)
        rows, columns = picture.shape[:2]
        enlarged = OVERVIEW_PX / max(rows, columns)
        size = (_whole(columns * enlarged), _whole(rows * enlarged))
        faces = self._detected(picture, size, least_score, scale)
        return sorted(faces, key=lambda face: (-face.height_px, *face.box.tolist()))

    def at(self, view: FrameView, box: Floats, least_score: float = LEAST_SCORE) -> Face | None:
        """The face at a place (float32 (4,), frame pixels), in frame pixels; None where there is none."""
        region = window_around(box)
        patch = view.patch(region.matrix(WINDOW_PX), WINDOW_PX)
        found = self._detected(patch, (WINDOW_PX, WINDOW_PX), least_score, 1.0)
        faces = [_in_frame(face, region) for face in found]
        near = [face for face in faces if overlap(face.box, box) >= _NEAR and _inside(face, view)]
        return max(near, key=lambda face: (overlap(face.box, box), face.score), default=None)

    def _detected(self, picture: Picture, size: tuple[int, int], least_score: float, scale: float) -> list[Face]:
        with self._guard:  # it caches anchors as it goes
            boxes, points = self._detector.detect(picture, input_size=size, det_thresh=least_score)
        return [
            Face(np.asarray(row[:4] / scale, np.float32), np.asarray(five / scale, np.float32), float(row[4]))
            for row, five in zip(boxes, points, strict=True)
        ]


def window_around(box: Floats) -> Region:
    """The snapped, upright window around a box (float32 (4,)), one and a half times its long side."""
    left, right = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    return region_around(box.reshape(2, 2), left, right)


def placed_back(points: NDArray[np.floating], region: Region, side_px: int) -> Floats:
    """float32 (N, 2): points of a window of `side_px`, in frame pixels."""
    matrix = region.matrix(side_px).astype(np.float64)
    return np.asarray((points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, np.float32)


def _in_frame(face: Face, region: Region) -> Face:
    box = placed_back(face.box.reshape(2, 2), region, WINDOW_PX).reshape(4)
    return Face(box, placed_back(face.points, region, WINDOW_PX), face.score)


def _inside(face: Face, view: FrameView) -> bool:
    width, height = view.size
    x, y = (face.box[:2] + face.box[2:]) / 2
    return bool(0 <= x < width and 0 <= y < height)


def _whole(side_px: float) -> int:
    """The next multiple of the network's coarsest stride."""
    return max(_STEP_PX, -(-round(side_px) // _STEP_PX) * _STEP_PX)
