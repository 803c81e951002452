"""Tells people apart: dlib's recognition network, an optional extra (`faceflow[people]`).

The network (CC0, 29 layers, trained on public pictures) gives 128 numbers for a face; two pictures of one person are
closer than 0.6 to each other (its author's figure), and mostly closer than 0.5. It is used to know who is who in a
target, never to make or to judge a swap. The package that carries its weights is located through its import spec: its
own code, which needs another package that is going away, is never imported. Of its four files only the CC0 recognition
network is read.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.installation import installation
from faceflow.vision.face_landmarker import LANDMARKS
from faceflow.vision.shapes import Face, FrameView

_PACKAGE = "face_recognition_models"
_NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
_CHIP_PX = 150
_PADDING = 0.25
_MEAN_CORNERS = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)
"""Where dlib puts outer and inner eye corner on the right, on the left, and the base of the nose in its chip
(`get_face_chip_details` for five points), as shares of the chip without its padding."""
_MESH_CORNERS = (263, 362, 33, 133, 2)
"""The same five points in the face mesh."""


def recogniser_installed() -> bool:
    """Whether the packages of the extra are there."""
    return importlib.util.find_spec("dlib") is not None and _network_path() is not None


class DlibRecogniser:
    """Embeds faces. Safe to share between threads: one at a time.

    Raises:
        EngineError: `engine.model_missing` where the extra is not installed, `engine.model_unusable` where dlib does
            not take the file.
    """

    name = "dlib"
    version = "1"
    same_person = 0.55
    """Euclidean distance of two embeddings below which they are one person: of the seven faces of the tests none are
    closer than 0.60, and one face at 30 to 300 pixels stays within 0.40 of itself."""

    def __init__(self) -> None:
        path = _network_path()
        try:
            import dlib  # noqa: PLC0415 (optional, and slow to import)
        except ImportError:
            path = None
        if path is None:
            raise EngineError(
                "engine.model_missing",
                "The network that tells people apart is not installed.",
                f"{installation().with_extra('people')}.",
                model=_NETWORK,
            )
        try:
            self._network: Any = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise EngineError(
                "engine.model_unusable",
                f"dlib cannot load the model file {_NETWORK}: {error}",
                "Reinstall face-recognition-models; the file may be damaged.",
                model=_NETWORK,
            ) from error
        self._guard = threading.Lock()

    def embed(self, view: FrameView, face: Face) -> NDArray[np.float32]:
        """float32 (128,) of a face in a view, whose coordinates `face` has."""
        chip = view.patch(_alignment(face), _CHIP_PX)
        with self._guard:
            numbers = self._network.compute_face_descriptor(np.ascontiguousarray(chip[..., ::-1]))
        return np.array(numbers, np.float32)


def _network_path() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "models" / _NETWORK
        if path.is_file():
            return path
    return None


def _alignment(face: Face) -> NDArray[np.float32]:
    """float32 (2, 3), frame -> chip: the similarity that brings the eyes (and the nose) to where dlib wants them."""
    chip = (np.array(_MEAN_CORNERS) + _PADDING) / (1 + 2 * _PADDING) * _CHIP_PX
    if face.landmarks is not None and len(face.landmarks) == LANDMARKS:
        seen = face.landmarks[list(_MESH_CORNERS), :2].astype(np.float64)
    else:
        seen = face.points[:2].astype(np.float64)
        chip = np.stack([chip[2:4].mean(0), chip[:2].mean(0)])
    here, there = seen @ (1, 1j), chip @ (1, 1j)
    around = here - here.mean()
    turn = ((there - there.mean()) * around.conj()).sum() / max(1e-9, float((np.abs(around) ** 2).sum()))
    offset = there.mean() - turn * here.mean()
    return np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag]], np.float32)
