"""What all published detectors share: the two looks at a frame; what their numbers mean is the contract's business.

`in_overview` searches a whole frame, brought to 640 pixels. `at` looks at one place at full sharpness and tells whether
a face is still there. Its window is snapped to a coarse grid (`face_landmarker.Region`), so that two runs which come to
a frame over different histories look through the same one.

    frame ─ overview or window ─ fitted into the input ─▶ network ─▶ boxes, points, scores ─ suppressed ─▶ faces

A contract is a subclass of `Detector` (in `detectors`). Where a file fixes the sides of its input, the picture lies in
the top left corner of a black one, as its publishers do it; then a look at one place costs as much as a search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_detector import overlap
from faceflow.vision.face_landmarker import Region, region_around
from faceflow.vision.neural.loading import Loaded
from faceflow.vision.shapes import Face, FrameView, Picture

Floats = NDArray[np.float32]

OVERVIEW_PX = 640
"""Long side at which a whole frame is searched: what the networks were published for."""
_STEP_PX = 32
"""The networks' coarsest stride."""
_NEAR = 0.2
"""Overlap with the expected box below which a face in the window is somebody else's."""


class Detector(ABC):
    """Base of the detectors. Safe to share between threads.

    Args:
        loaded: the network; its first input is (1, 3, H, W).
    """

    window_px: ClassVar[int] = 320
    """Side of the window that shows one face, two thirds of it filled."""
    enlarges: ClassVar[bool] = False
    """Whether small pictures are enlarged to the input."""
    least_score: ClassVar[float] = 0.5
    """Score from which a face counts,"""
    least_expected: ClassVar[float] = 0.3
    """and where the scan saw one: a gap in the detections is filled so."""

    def __init__(self, loaded: Loaded) -> None:
        rows, columns = loaded.network.inputs[0].shape[2:]
        self._fixed = (columns, rows) if rows is not None and columns is not None else None

    def in_overview(self, view: FrameView) -> list[Face]:
        """Faces of a whole frame, in its pixels, the largest first."""
        longest_px = OVERVIEW_PX if self._fixed is None else min(OVERVIEW_PX, *self._fixed)
        picture, scale = view.overview(longest_px)
        rows, columns = picture.shape[:2]
        enlarged = longest_px / max(rows, columns) if self.enlarges else 1.0
        size = self._fixed or (_whole(columns * enlarged), _whole(rows * enlarged))
        faces = [_scaled(face, 1 / scale) for face in self._found(picture, size, self.least_score)]
        return sorted(faces, key=lambda face: (-face.height_px, *face.box.tolist()))

    def at(self, view: FrameView, box: Floats, least_score: float | None = None) -> Face | None:
        """The face at a place (float32 (4,), frame pixels), in frame pixels; None where there is none.

        Args:
            view: the frame.
            box: the place.
            least_score: score from which it counts; the detector's own where none is given.
        """
        region, side_px = window_around(box), self.window_px
        patch = view.patch(region.matrix(side_px), side_px)
        found = self._found(patch, self._fixed or (side_px, side_px), least_score or self.least_score)
        faces = [_in_frame(face, region, side_px) for face in found]
        near = [face for face in faces if overlap(face.box, box) >= _NEAR and _inside(face, view)]
        return max(near, key=lambda face: (overlap(face.box, box), face.score), default=None)

    @abstractmethod
    def _found(self, picture: Picture, size: tuple[int, int], least_score: float) -> list[Face]:
        """Faces of a picture, in its pixels, each once; `size` is the width and height of the network's input."""


def fitted(picture: Picture, size: tuple[int, int]) -> tuple[Picture, float]:
    """The picture in the top left corner of a black one.

    Args:
        picture: uint8 (H, W, 3).
        size: width and height of the result.

    Returns:
        uint8 (height, width, 3), and the scale, at most 1, to which the picture had to shrink.
    """
    rows, columns = picture.shape[:2]
    scale = min(1.0, size[0] / columns, size[1] / rows)
    if scale < 1:
        small = (min(size[0], round(columns * scale)), min(size[1], round(rows * scale)))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas, scale


def distinct(boxes: Floats, points: Floats, scores: Floats, most_overlap: float, scale: float) -> list[Face]:
    """What a network saw, each face once: of boxes that overlap, the one with the highest score.

    Args:
        boxes: float32 (N, 4): left, top, right, bottom, in pixels of the network's input.
        points: float32 (N, 5, 2), likewise.
        scores: float32 (N,), 0 to 1.
        most_overlap: intersection over union of two faces that both stay.
        scale: pixels of the input for one pixel of the picture.
    """
    if not len(scores):
        return []
    sized = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
    kept = cv2.dnn.NMSBoxes(sized.tolist(), scores.astype(np.float64).tolist(), 0.0, most_overlap)
    return [_scaled(Face(boxes[one], points[one], float(scores[one])), 1 / scale) for one in np.ravel(kept).tolist()]


def window_around(box: Floats) -> Region:
    """The snapped, upright window around a box (float32 (4,)), one and a half times its long side."""
    left, right = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    return region_around(box.reshape(2, 2), left, right)


def placed_back(points: NDArray[np.floating], region: Region, side_px: int) -> Floats:
    """float32 (N, 2): points of a window of `side_px`, in frame pixels."""
    matrix = region.matrix(side_px).astype(np.float64)
    return np.asarray((points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, np.float32)


def _scaled(face: Face, factor: float) -> Face:
    return Face(np.asarray(face.box * factor, np.float32), np.asarray(face.points * factor, np.float32), face.score)


def _in_frame(face: Face, region: Region, side_px: int) -> Face:
    box = placed_back(face.box.reshape(2, 2), region, side_px).reshape(4)
    return Face(box, placed_back(face.points, region, side_px), face.score)


def _inside(face: Face, view: FrameView) -> bool:
    width, height = view.size
    x, y = (face.box[:2] + face.box[2:]) / 2
    return bool(0 <= x < width and 0 <= y < height)


def _whole(side_px: float) -> int:
    """The next multiple of the network's coarsest stride."""
    return max(_STEP_PX, -(-round(side_px) // _STEP_PX) * _STEP_PX)
