"""InsightFace's own classes over our runtime.

The package `insightface` knows how its networks' numbers are read: anchors, strides, suppression, crops. It would also
choose a provider by itself, fall back to the CPU, and fetch what is missing. So its classes are given a session that is
ours: verified files, one copy a process, the stated provider and no other. Nothing of it that downloads is called.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.installation import installation
from faceflow.vision.runtime.networks import Network
from faceflow.vision.runtime.providers import NAMES, Provider

Floats = NDArray[np.float32]

_PACKAGE = "insightface"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as ONNX Runtime describes it: name, shape (`?` where a side is open), type."""

    name: str
    shape: list[int | str]
    type: str = "tensor(float)"


class NetworkSession:
    """Looks to InsightFace like a session of ONNX Runtime."""

    def __init__(self, network: Network, provider: Provider) -> None:
        self._network = network
        self._provider = provider

    def get_inputs(self) -> list[Port]:
        """The network's inputs."""
        return [Port(value.name, _sides(value.shape)) for value in self._network.inputs]

    def get_outputs(self) -> list[Port]:
        """The network's outputs."""
        return [Port(value.name, _sides(value.shape)) for value in self._network.outputs]

    def get_providers(self) -> list[str]:
        """The one that runs it."""
        return [NAMES[self._provider]]

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[Floats]:
        """The outputs `names`, in that order. Raises as `Network.run`."""
        made = self._network.run(feeds)
        by_name = dict(zip((value.name for value in self._network.outputs), made, strict=True))
        return [by_name[name] for name in names]


def require_insightface() -> None:
    """Sees that the package is there, without importing it. Raises `EngineError` `engine.package_missing`."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise _not_installed("it is not installed")


@lru_cache(maxsize=8)
def insightface_class(module: str, name: str) -> Any:
    """A class of a module of the package, imported when it is first needed (some seconds).

    Raises:
        As `require_insightface`.
    """
    try:
        return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise _not_installed(str(error)) from error


def _not_installed(why: str) -> EngineError:
    return EngineError(
        "engine.package_missing",
        f"The package insightface cannot be used: {why}.",
        f"{installation().with_extra('insightface')}, or choose an analyser and a landmarker that do not need it. "
        "Beside a GPU build see docs/engines.md.",
    )


def _sides(shape: Sequence[int | None]) -> list[int | str]:
    return ["?" if side is None else side for side in shape]
