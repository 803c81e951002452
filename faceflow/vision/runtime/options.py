"""What a session is asked for: threads, memory, and where compiled networks are kept. Pure functions of the settings.

Threads wait asleep, not spinning: ONNX Runtime's default burns a core per thread between two runs, which here is time
that decoding and encoding need. TensorRT compiles a network for minutes; the result holds for one file, one kind of
graphics processor and one set of versions only, so these name the folder in which it is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflow.cores import usable_cores
from faceflow.settings import EngineSettings
from faceflow.vision.runtime.graph_file import ValueInfo
from faceflow.vision.runtime.providers import NAMES

ProviderOptions = tuple[str, dict[str, Any]]


def thread_count(settings: EngineSettings) -> int:
    """Threads inside one operation: the stated number, else the cores that this process may keep busy."""
    return settings.threads or usable_cores()


def provider_options(settings: EngineSettings, compiled: Path, shapes: Mapping[str, str]) -> list[ProviderOptions]:
    """Providers with their options, in the order in which ONNX Runtime is to take them.

    Args:
        settings: provider, device, memory limit, precision.
        compiled: folder for what TensorRT compiles (`compiled_folder`).
        shapes: `tensorrt_shapes`; empty where the network has fixed sides.
    """
    cuda: ProviderOptions = (NAMES["cuda"], cuda_options(settings))
    if settings.provider == "cuda":
        return [cuda]
    if settings.provider == "tensorrt":
        return [(NAMES["tensorrt"], tensorrt_options(settings, compiled, shapes)), cuda]
    return [(NAMES["cpu"], {})]


def cuda_options(settings: EngineSettings) -> dict[str, Any]:
    """Options of the CUDA provider. Convolutions are searched once for each shape, within the memory limit."""
    limit = {"gpu_mem_limit": settings.memory_limit_bytes} if settings.memory_limit_bytes else {}
    return {
        "device_id": settings.device_id,
        # Grows by what is asked for, so that several networks and processes fit beside one another.
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC" if settings.memory_limit_bytes else "EXHAUSTIVE",
        **limit,
    }


def tensorrt_options(settings: EngineSettings, compiled: Path, shapes: Mapping[str, str]) -> dict[str, Any]:
    """Options of the TensorRT provider: precision, and both caches in `compiled`."""
    limit = {"trt_max_workspace_size": settings.memory_limit_bytes} if settings.memory_limit_bytes else {}
    return {
        "device_id": settings.device_id,
        "trt_fp16_enable": settings.fp16,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(compiled),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(compiled),
        **limit,
        **shapes,
    }


def tensorrt_shapes(
    inputs: Mapping[str, tuple[int | None, ...]], batch: int, sides_px: tuple[int, int] = (1, 1)
) -> dict[str, str]:
    """The range of batches, and of pictures where their sides are open, that TensorRT compiles for.

    Args:
        inputs: the inputs with a symbolic number of pictures, with their other sides; None where one is open.
        batch: the most pictures at once, which is also what it is made fastest for.
        sides_px: the smallest and the largest of the open sides.
    """
    if not inputs:
        return {}

    def profile(count: int, side_px: int) -> str:
        shapes = {name: (count, *(side or side_px for side in sides)) for name, sides in inputs.items()}
        return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())

    return {
        "trt_profile_min_shapes": profile(1, sides_px[0]),
        "trt_profile_opt_shapes": profile(batch, sides_px[1]),
        "trt_profile_max_shapes": profile(batch, sides_px[1]),
    }


def compiled_folder(root: Path, model_sha256: str, device: str, versions: Mapping[str, str]) -> Path:
    """Where what was compiled for one network is kept.

    Args:
        root: the folder for all of them.
        model_sha256: hash of the model's file.
        device: name of the graphics processor.
        versions: of everything that makes compiled networks useless when it changes.
    """
    key = hashlib.sha256(json.dumps([device, sorted(versions.items())]).encode()).hexdigest()[:12]
    return root / model_sha256[:16] / f"{re.sub('[^A-Za-z0-9]+', '-', device).strip('-')}-{key}"


def open_sides(inputs: tuple[ValueInfo, ...]) -> dict[str, tuple[int | None, ...]]:
    """The other sides of the inputs of which one is open; for `tensorrt_shapes`."""
    return {value.name: value.shape[1:] for value in inputs if len(value.shape) > 1 and None in value.shape}


def session_options(runtime: Any, settings: EngineSettings, weights: Path) -> Any:
    """ONNX Runtime's options of a session.

    Args:
        runtime: the package onnxruntime.
        settings: threads and memory limit.
        weights: the folder in which the model's own file lies.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads = thread_count(settings)
    options.inter_op_num_threads = settings.parallel_operations
    if settings.parallel_operations > 1:
        options.execution_mode = runtime.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors: everything below is about unused weights and nodes left on the CPU
    entries = {
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
        "session.model_external_initializers_file_folder_path": str(weights),
    }
    if settings.provider == "cpu" and settings.memory_limit_bytes:
        entries["session.use_env_allocators"] = "1"
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return options
