"""The graphics processor's name and the versions around it, for the key under which compiled networks are kept."""

from __future__ import annotations

import ctypes
import ctypes.util
from importlib.metadata import PackageNotFoundError, version

from faceflow.errors import EngineError

_LONGEST_NAME = 256
_PACKAGES = ("onnxruntime-gpu", "tensorrt", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cuda-runtime")


def device_name(device_id: int) -> str:
    """What the driver calls the device, such as "NVIDIA H200".

    Raises:
        EngineError: `engine.provider_missing` where there is no driver or no such device.
    """
    library = ctypes.util.find_library("cuda")
    if library is not None:
        driver = ctypes.CDLL(library)
        device, name = ctypes.c_int(), ctypes.create_string_buffer(_LONGEST_NAME)
        if (
            driver.cuInit(0) == 0
            and driver.cuDeviceGet(ctypes.byref(device), device_id) == 0
            and driver.cuDeviceGetName(name, _LONGEST_NAME, device) == 0
        ):
            return name.value.decode(errors="replace")
    raise EngineError(
        "engine.provider_missing",
        f"The NVIDIA driver shows no device {device_id}.",
        "See `nvidia-smi`, and choose a device that it lists with FACEFLOW_ENGINE__DEVICE_ID.",
        device=device_id,
    )


def versions() -> dict[str, str]:
    """Versions of the packages of which one change makes compiled networks useless; those installed only."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
