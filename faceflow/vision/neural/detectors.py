"""The contracts of the published detectors: what goes in, and what their numbers mean.

scrfd       (RGB - 127.5) / 128 -> scores, boxes and points at strides 8, 16, 32, by InsightFace's class
yoloface    RGB / 255 -> (1, 20, N): middle, size, score, five points with a confidence each, in pixels
yunet       BGR from 0 to 255 -> class, object, box, points at strides 8, 16, 32, read as OpenCV does it

Points come in one order from all of them: the eye left in the picture first.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Contract
from faceflow.vision.neural.detector import OVERVIEW_PX, Detector, distinct, fitted
from faceflow.vision.neural.insightface_session import NetworkSession, insightface_class
from faceflow.vision.neural.loading import Loaded, contract_mismatch, load
from faceflow.vision.shapes import Face, Picture

Floats = NDArray[np.float32]

_STRIDES = (8, 16, 32)


class Scrfd(Detector):
    """SCRFD through InsightFace's class. One picture at a time: it caches anchors as it goes.

    Raises:
        EngineError: `engine.package_missing`, `engine.contract_mismatch`.
    """

    window_px = 192
    enlarges = True  # as InsightFace does it

    def __init__(self, loaded: Loaded, settings: SwapSettings) -> None:
        super().__init__(loaded)
        session = NetworkSession(loaded.network, settings.engine.provider)
        self._detector: Any = insightface_class("model_zoo.scrfd", "SCRFD")(session=session)
        if not self._detector.use_kps:
            raise contract_mismatch(loaded, "a detector that returns five points")
        self._guard = threading.Lock()

    def _found(self, picture: Picture, size: tuple[int, int], least_score: float) -> list[Face]:
        with self._guard:
            boxes, points = self._detector.detect(picture, input_size=size, det_thresh=least_score)
        return [
            Face(np.asarray(row[:4], np.float32), np.asarray(five, np.float32), float(row[4]))
            for row, five in zip(boxes, points, strict=True)
        ]


class YoloFace(Detector):
    """YOLOv8 trained for faces.

    Raises:
        EngineError: `engine.contract_mismatch`.
    """

    most_overlap: ClassVar[float] = 0.4

    def __init__(self, loaded: Loaded, settings: SwapSettings) -> None:
        del settings
        super().__init__(loaded)
        if len(loaded.network.outputs) != 1 or loaded.network.outputs[0].shape[1] not in {20, None}:
            raise contract_mismatch(loaded, "a detector with twenty numbers per position")
        self._network = loaded.network
        self._input = loaded.network.inputs[0].name

    def _found(self, picture: Picture, size: tuple[int, int], least_score: float) -> list[Face]:
        canvas, scale = fitted(picture, size)
        blob = cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)
        rows = self._network.run({self._input: blob})[0].reshape(20, -1).T
        rows = rows[rows[:, 4] >= least_score]
        middle, half = rows[:, :2], rows[:, 2:4] / 2
        points = rows[:, 5:].reshape(-1, 5, 3)[..., :2]
        return distinct(np.hstack([middle - half, middle + half]), points, rows[:, 4], self.most_overlap, scale)


class YuNet(Detector):
    """OpenCV's YuNet. Its score is the root of class and object, as OpenCV takes it (`face_detect.cpp`).

    Raises:
        EngineError: `engine.contract_mismatch`.
    """

    # FaceFusion takes 0.5 of class times object, of which these are the roots for 0.5 and 0.3.
    least_score = 0.7
    least_expected = 0.55
    most_overlap: ClassVar[float] = 0.3

    def __init__(self, loaded: Loaded, settings: SwapSettings) -> None:
        del settings
        super().__init__(loaded)
        widths = [value.shape[-1] for value in loaded.network.outputs]
        if len(widths) != 12 or any(
            found not in {wanted, None} for found, wanted in zip(widths, np.repeat([1, 1, 4, 10], 3), strict=True)
        ):
            raise contract_mismatch(loaded, "YuNet, which returns class, object, box and points at three strides")
        self._network = loaded.network
        self._input = loaded.network.inputs[0].name

    def _found(self, picture: Picture, size: tuple[int, int], least_score: float) -> list[Face]:
        canvas, scale = fitted(picture, size)
        made = self._network.run({self._input: cv2.dnn.blobFromImage(canvas)})
        boxes, points, scores = [], [], []
        for level, stride in enumerate(_STRIDES):
            classes, objects, box, five = (made[kind * 3 + level].reshape(-1, width) for kind, width in _YUNET)
            score = np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))[:, 0]
            seen = np.flatnonzero(score >= least_score)
            cells = np.stack([seen % (size[0] // stride), seen // (size[0] // stride)], axis=1).astype(np.float32)
            middle, half = (cells + box[seen, :2]) * stride, np.exp(box[seen, 2:]) * stride / 2
            boxes.append(np.hstack([middle - half, middle + half]))
            points.append((five[seen].reshape(-1, 5, 2) + cells[:, None]) * stride)
            scores.append(score[seen])
        return distinct(np.concatenate(boxes), np.concatenate(points), np.concatenate(scores), self.most_overlap, scale)


_YUNET = ((0, 1), (1, 1), (2, 4), (3, 10))
"""Place and width of class, object, box and points among its outputs."""
_CONTRACTS: dict[Contract, type[Scrfd | YoloFace | YuNet]] = {
    Contract.SCRFD: Scrfd,
    Contract.YOLOFACE: YoloFace,
    Contract.YUNET: YuNet,
}


def load_detector(name: str, settings: SwapSettings) -> Detector:
    """The detector `name` of the catalogue.

    Raises:
        ModelError, ModelFileError, EngineError: see `loading.load`; `engine.package_missing` for SCRFD.
    """
    loaded = load(name, settings, (Scrfd.window_px, OVERVIEW_PX))
    if loaded.entry.contract not in _CONTRACTS:
        raise contract_mismatch(loaded, "a detector")
    return _CONTRACTS[loaded.entry.contract](loaded, settings)
