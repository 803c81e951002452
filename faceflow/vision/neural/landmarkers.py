"""The published landmarkers: many points of a face whose place is known, of which the five for alignment are taken.

2d106det, 1k3d68   (1, 3, 192, 192), RGB -> 106 points, or 68 with depth; read by InsightFace's own class
2dfan4             (1, 3, 256, 256), RGB / 255 -> (1, 68, 3) points in quarters of pixels, (1, 68, 64, 64) heat maps

A detector's own five points tremble from frame to frame more than these do, and lie worse on a turned head. Of 68
points (numbered as iBUG's 300-W does it), the eyes are the mean of their outline; depth is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Contract
from faceflow.vision.neural.detector import placed_back, window_around
from faceflow.vision.neural.insightface_session import NetworkSession, insightface_class
from faceflow.vision.neural.loading import Loaded, contract_mismatch, load
from faceflow.vision.neural.pixels import to_tensor
from faceflow.vision.shapes import Face, FrameView

Floats = NDArray[np.float32]

_INSIGHTFACE_PX = 192
_BOX_IN_WINDOW_PX = 128.0
"""InsightFace shows its networks one and a half times the box."""
_FAN_PX = 256
_BOX_IN_FAN_PX = 195.0
"""Long side of the face's box in 2dfan4's input, as its training code and FaceFusion have it."""
_FAN_STRIDE = 4
_FAN_SURE = 0.9
"""Mean of the heat maps' peaks that counts as certain, and"""
_LEAST_FAN = 0.5
"""the share of it from which the points are trusted; both FaceFusion's."""


class Landmarker(Protocol):
    """Places the five points of a face anew."""

    def five_points(self, view: FrameView, face: Face) -> Floats | None:
        """float32 (5, 2), in frame pixels, of a face of a view; None where the network is not sure."""
        ...


class InsightFaceLandmarks:
    """2d106det or 1k3d68. Safe to share between threads.

    Raises:
        EngineError: `engine.package_missing`, `engine.contract_mismatch`.
    """

    def __init__(self, loaded: Loaded, settings: SwapSettings) -> None:
        session = NetworkSession(loaded.network, settings.engine.provider)
        made = insightface_class("model_zoo.landmark", "Landmark")(model_file=str(loaded.network.path), session=session)
        task, self._five = _INSIGHTFACE[loaded.entry.contract or Contract.LANDMARK106]
        if made.taskname != task or made.input_size != (_INSIGHTFACE_PX, _INSIGHTFACE_PX):
            raise contract_mismatch(loaded, f"one of the kind {task}")
        self._network: Any = made
        self._face = insightface_class("app.common", "Face")

    def five_points(self, view: FrameView, face: Face) -> Floats:
        """The five points; this network does not say how sure it is."""
        region = window_around(face.box)
        patch = view.patch(region.matrix(_INSIGHTFACE_PX), _INSIGHTFACE_PX)
        # The window is what InsightFace would cut around this box: it is shown as it is.
        low, high = (_INSIGHTFACE_PX - _BOX_IN_WINDOW_PX) / 2, (_INSIGHTFACE_PX + _BOX_IN_WINDOW_PX) / 2
        shown = self._face(bbox=np.array([low, low, high, high], np.float32))
        points = np.asarray(self._network.get(patch, shown), np.float32)
        return placed_back(self._five(points[:, :2]), region, _INSIGHTFACE_PX)


class Fan68:
    """2dfan4. Safe to share between threads.

    Raises:
        EngineError: `engine.contract_mismatch`.
    """

    def __init__(self, loaded: Loaded, settings: SwapSettings) -> None:
        del settings
        outputs = [value.shape for value in loaded.network.outputs]
        if len(outputs) != 2 or [len(shape) for shape in outputs] != [3, 4]:
            raise contract_mismatch(loaded, "one of points and heat maps")
        self._network = loaded.network
        self._input = loaded.network.inputs[0].name

    def five_points(self, view: FrameView, face: Face) -> Floats | None:
        """The five points, None where the peaks of the heat maps are low."""
        region = window_around(face.box)
        share = _BOX_IN_WINDOW_PX / _INSIGHTFACE_PX * _FAN_PX / _BOX_IN_FAN_PX
        region = replace(region, side=region.side * share)
        patch = view.patch(region.matrix(_FAN_PX), _FAN_PX)
        points, heat = self._network.run({self._input: to_tensor([patch], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))})
        if float(heat.max(axis=(2, 3)).mean()) < _LEAST_FAN * _FAN_SURE:
            return None
        return placed_back(_five_of_68(points[0, :, :2] * _FAN_STRIDE), region, _FAN_PX)


def _five_of_106(points: Floats) -> Floats:
    """Pupils left and right in the picture, tip of the nose, corners of the mouth, in 2d106det's order."""
    return points[[38, 88, 86, 52, 61]]


def _five_of_68(points: Floats) -> Floats:
    """Middles of the eyes left and right in the picture, tip of the nose, corners of the mouth."""
    eyes = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]
    return np.stack([*eyes, *points[[30, 48, 54]]])


_INSIGHTFACE: dict[Contract, tuple[str, Callable[[Floats], Floats]]] = {
    Contract.LANDMARK106: ("landmark_2d_106", _five_of_106),
    Contract.LANDMARK68_3D: ("landmark_3d_68", _five_of_68),
}
_CONTRACTS: dict[Contract, type[InsightFaceLandmarks | Fan68]] = {
    Contract.LANDMARK106: InsightFaceLandmarks,
    Contract.LANDMARK68_3D: InsightFaceLandmarks,
    Contract.FAN68: Fan68,
}


def load_landmarker(name: str, settings: SwapSettings) -> Landmarker:
    """The landmarker `name` of the catalogue.

    Raises:
        ModelError, ModelFileError, EngineError: see `loading.load`; `engine.package_missing` for InsightFace's.
    """
    loaded = load(name, settings)
    if loaded.entry.contract not in _CONTRACTS:
        raise contract_mismatch(loaded, "a landmarker")
    return _CONTRACTS[loaded.entry.contract](loaded, settings)
