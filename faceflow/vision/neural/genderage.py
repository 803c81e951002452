"""genderage of buffalo_l through InsightFace's class: what a selection by gender or age asks of a face."""

from __future__ import annotations

from typing import Any

import numpy as np

from faceflow.settings import SwapSettings
from faceflow.vision.neural.insightface_session import NetworkSession, insightface_class
from faceflow.vision.neural.loading import contract_mismatch, load
from faceflow.vision.shapes import Face, FrameView, Traits

GENDERAGE_MODEL = "genderage"
_WINDOW = 1.5
"""Side of the window that the network sees, in long sides of the face's box."""


class GenderAge:
    """(1, 3, 96, 96) -> female, male, age / 100. Safe to share between threads.

    Raises:
        EngineError: `engine.package_missing`, `engine.contract_mismatch`, and as `loading.load`.
    """

    def __init__(self, settings: SwapSettings) -> None:
        loaded = load(GENDERAGE_MODEL, settings)
        session = NetworkSession(loaded.network, settings.engine.provider)
        attribute = insightface_class("model_zoo.attribute", "Attribute")
        made = attribute(model_file=str(loaded.network.path), session=session)
        if made.taskname != "genderage":
            raise contract_mismatch(loaded, "one of gender and age")
        self._network: Any = made
        self._side_px = int(made.input_size[0])
        self._face = insightface_class("app.common", "Face")

    def estimate(self, view: FrameView, face: Face) -> Traits:
        """What the network makes of a face of a view, in whose full-frame pixels `face` is."""
        middle, long_side = (face.box[:2] + face.box[2:]) / 2, float((face.box[2:] - face.box[:2]).max())
        scale = self._side_px / (max(1.0, long_side) * _WINDOW)
        # As `insightface.utils.face_align.transform` places the box: its middle on the window's.
        offset = self._side_px / 2 - middle.astype(np.float64) * scale
        matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)
        low = self._side_px / 2 * (1 - 1 / _WINDOW)
        shown = self._face(bbox=np.array([low, low, self._side_px - low, self._side_px - low], np.float32))
        gender, age = self._network.get(view.patch(matrix, self._side_px), shown)
        return Traits(male=float(gender), age_years=float(age))
