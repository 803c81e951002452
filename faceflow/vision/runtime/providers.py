"""Which provider runs the networks: the wanted one, or an error that says how to get it.

ONNX Runtime takes a list of providers and silently goes on with the CPU when the first one is missing or fails to
start. A job that was to take a minute then takes an hour, on a machine that costs as much as a fast one. So the wanted
provider is looked for before anything is loaded, and every session is asked afterwards which one it really has. Small
operations that a graphics processor cannot do stay on the CPU, as ONNX Runtime decides; TensorRT hands on to CUDA what
it cannot compile.
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
from functools import lru_cache
from typing import Any, Literal

from faceflow.errors import EngineError
from faceflow.installation import installation

Provider = Literal["cpu", "cuda", "tensorrt"]

NAMES: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""How ONNX Runtime calls them."""


@lru_cache(maxsize=1)
def onnxruntime() -> Any:
    """The package, imported when it is first needed. Raises `EngineError` `engine.provider_missing`."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some builds keep an identity of the device for reports
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineError(
            "engine.provider_missing",
            f"ONNX Runtime is not installed ({error}).",
            f"{installation().with_extra('cpu', 'gpu')}; `gpu` is for NVIDIA.",
            provider="cpu",
        ) from error


def load_libraries(provider: Provider, runtime: Any) -> None:
    """Loads CUDA and cuDNN from the packages that ONNX Runtime's extras install; system libraries do as well."""
    if provider != "cpu" and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()


def require_provider(provider: Provider, runtime: Any = None) -> None:
    """Sees that the wanted provider can be there, in well under a second and without loading a network.

    Args:
        provider: the wanted one.
        runtime: the package onnxruntime, or a stand-in.

    Raises:
        EngineError: `engine.provider_missing`.
    """
    installed = list((runtime or onnxruntime()).get_available_providers())
    if NAMES[provider] not in installed:
        raise _missing(provider, f"this ONNX Runtime only supports {', '.join(installed)}")
    if provider != "cpu" and runtime is None and ctypes.util.find_library("cuda") is None:
        raise _missing(provider, "no NVIDIA driver (libcuda) is installed")


def require_running(provider: Provider, running: list[str]) -> None:
    """Sees that a session has the wanted provider and not what ONNX Runtime fell back to.

    Args:
        provider: the wanted one.
        running: what the session says of itself, the preferred first.

    Raises:
        EngineError: `engine.provider_missing`.
    """
    if not running or running[0] != NAMES[provider]:
        raise _missing(provider, f"ONNX Runtime fell back to {', '.join(running) or 'nothing'}")


def provider_failed(provider: Provider, why: BaseException) -> EngineError:
    """The error where the provider is installed and does not start."""
    return _missing(provider, str(why))


def _missing(provider: Provider, why: str) -> EngineError:
    return EngineError(
        "engine.provider_missing",
        f"The configured provider {provider!r} is not available: {why}.",
        "Install the NVIDIA driver and the other build of ONNX Runtime (pip uninstall onnxruntime, then pip install "
        "'onnxruntime-gpu[cuda,cudnn]', and tensorrt for that provider; docs/engines.md), or choose another provider "
        "with FACEFLOW_ENGINE__PROVIDER.",
        provider=provider,
    )
