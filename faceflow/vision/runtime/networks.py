"""Networks, ready to run: one session for each file and process, shared by all threads.

    network = open_network(path, sha256, settings)
    outputs = network.run({"target": float32 (N, 3, 128, 128), "source": float32 (N, 512)})

A session is made once even when many threads ask for it in the same moment: they wait for the first. Weights stay in
the mapped file (`graph_file`). Arrays are cast to what the file wants (float16, float64) and come back as float32.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.log import events
from faceflow.settings import EngineSettings, SwapSettings
from faceflow.vision.runtime.batching import batched_graph, is_per_picture, takes_batches
from faceflow.vision.runtime.device import device_name, versions
from faceflow.vision.runtime.graph_file import OnnxFile, ValueInfo
from faceflow.vision.runtime.options import (
    compiled_folder,
    open_sides,
    provider_options,
    session_options,
    tensorrt_shapes,
)
from faceflow.vision.runtime.providers import (
    load_libraries,
    onnxruntime,
    provider_failed,
    require_provider,
    require_running,
)
from faceflow.vision.runtime.scratch import scratch_array

Floats = NDArray[np.float32]

_SAME = 2e-3
"""Largest difference between a batch and single runs, as a share of the outputs' range (half a step of 8 bits)."""
_MOST_SAMPLES = 1 << 28
"""Numbers in one input beyond which no network is believed to take it; the largest known have 2^24."""
_PROOF = 2
"""Pictures in the batch with which a rewritten graph is proved."""


class Network:
    """One network, loaded. Safe to share between threads.

    Args:
        file: the model file.
        session: ONNX Runtime's.
        batched: whether several pictures can go through at once; otherwise they go one by one.
        most: how many at once.

    Attributes:
        inputs, outputs: what the file says of them.
        batched: as given.
    """

    def __init__(self, file: OnnxFile, session: Any, batched: bool, most: int) -> None:
        self._file = file  # the weights lie in its mapping
        self._session = session
        self.inputs = file.inputs
        self.outputs = file.outputs
        self.batched = batched
        self._most = most
        self._sides_vary = any(None in value.shape[1:] for value in file.inputs)

    @property
    def path(self) -> Path:
        """The model file."""
        return self._file.path

    def run(self, feeds: Mapping[str, NDArray[Any]], *, reuse: bool = False) -> list[Floats]:
        """Runs the network.

        Args:
            feeds: an array for every input. Inputs for each picture have N of them in their first side.
            reuse: whether the outputs may lie in memory that this thread's next such run takes again, for large ones
                that are read at once.

        Returns:
            float32, the outputs in the file's order, N in their first side.

        Raises:
            EngineError: `engine.run_failed`, `engine.out_of_memory`.
        """
        cast = {value.name: _cast(feeds[value.name], value) for value in self.inputs}
        per_picture = [value.name for value in self.inputs if is_per_picture(value)]
        count = max((len(cast[name]) for name in per_picture), default=1)
        together = self._most if self.batched else 1
        if count <= together:
            return self._run(cast, reuse)
        parts = [
            self._run({name: array[n : n + together] if name in per_picture else array for name, array in cast.items()})
            for n in range(0, count, together)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def last_initializer(self) -> NDArray[Any] | None:
        """The last constant of the graph."""
        return self._file.last_initializer()

    def _run(self, feeds: Mapping[str, NDArray[Any]], reuse: bool = False) -> list[Floats]:
        binding = self._session.io_binding()
        try:
            for name, array in feeds.items():
                binding.bind_cpu_input(name, array)
            made = self._bound(binding, feeds, reuse)
            self._session.run_with_iobinding(binding)
            if made is None:
                made = binding.copy_outputs_to_cpu()
        except Exception as error:  # what ONNX Runtime raises has no common class of its own
            raise _failed(self._file.path, error) from error
        return [np.asarray(output, np.float32) for output in made]

    def _bound(self, binding: Any, feeds: Mapping[str, NDArray[Any]], reuse: bool) -> list[NDArray[Any]] | None:
        """Arrays that the outputs are written into, where their sides are known; None where the network decides.

        Where the sides of a picture are open, those of the outputs follow from them, whatever the file says.
        """
        count = max((len(feeds[value.name]) for value in self.inputs if is_per_picture(value)), default=1)
        made: list[NDArray[Any]] = []
        for value in self.outputs:
            sides = [count, *value.shape[1:]] if is_per_picture(value) else list(value.shape)
            known = [side for side in sides if side is not None]
            if self._sides_vary or len(known) < len(sides):
                for other in self.outputs:
                    binding.bind_output(other.name, "cpu")
                return None
            if reuse:
                made.append(scratch_array(f"output {len(made)}", tuple(known), value.dtype))
            else:
                made.append(np.empty(known, value.dtype))
        for value, array in zip(self.outputs, made, strict=True):
            binding.bind_output(value.name, "cpu", 0, value.dtype, list(array.shape), array.ctypes.data)
        return made


@dataclass(frozen=True, slots=True)
class _Key:
    sha256: str
    path: Path
    settings: EngineSettings
    sides_px: tuple[int, int]


_guard = threading.Lock()
_locks: dict[_Key, threading.Lock] = {}
_networks: dict[_Key, Network] = {}
_limited: list[int] = []


def open_network(path: Path, sha256: str, settings: SwapSettings, sides_px: tuple[int, int] = (1, 1)) -> Network:
    """The network of a file, loaded at the first call and warmed up; the same object for all who ask.

    Args:
        path: the model file.
        sha256: its hash, which tells two files of one name apart.
        settings: provider, device, threads, batch and where compiled networks are kept.
        sides_px: the smallest and the largest side of a picture, for networks that leave it open.

    Raises:
        EngineError: `engine.provider_missing`, `engine.model_missing`, `engine.model_unusable`,
            `engine.out_of_memory`.
    """
    key = _Key(sha256, path, settings.engine, sides_px)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        found = _networks.get(key)
        if found is None:
            require_provider(settings.engine.provider)
            found = _networks[key] = _opened(path, sha256, settings, sides_px)
    return found


def release_networks() -> None:
    """Lets go of every session and its memory. Who still holds a `Network` keeps that one alive."""
    with _guard:
        _networks.clear()
        _locks.clear()


atexit.register(release_networks)  # before ONNX Runtime's own end, which a session must not outlive


def _opened(path: Path, sha256: str, settings: SwapSettings, sides_px: tuple[int, int]) -> Network:
    begun = time.monotonic()
    file = OnnxFile(path)
    varies, most = any(None in value.shape[1:] for value in file.inputs), settings.engine.faces_at_once
    if most == 1 or varies or takes_batches(file):
        session = _session(file, None, sha256, settings, sides_px)
        network = Network(file, session, takes_batches(file) and not varies, most)
    else:
        network = _batched(file, sha256, settings)
    network.run(_samples(file, 1, sides_px[1]))  # warm: the first run allocates, searches algorithms, compiles
    events().info(
        "model.loaded",
        file=path.name,
        provider=settings.engine.provider,
        batched=network.batched,
        sha256=sha256,
        seconds=round(time.monotonic() - begun, 3),
    )
    return network


def _batched(file: OnnxFile, sha256: str, settings: SwapSettings) -> Network:
    """The network with a symbolic number of pictures, if it then does what it did before; else as it is."""
    external, most = settings.engine.provider != "tensorrt", settings.engine.faces_at_once
    try:
        network = Network(file, _session(file, batched_graph(file, external=external), sha256, settings), True, most)
        samples = _samples(file, _PROOF)
        together = network.run(samples)
        network.batched = False
        if _alike(together, network.run(samples)):
            network.batched = True
            return network
        why = "a batch differs from single runs"
    except EngineError as error:
        if error.code == "engine.provider_missing":
            raise
        why = error.message
    events().info("model.one_by_one", file=file.path.name, why=why)
    return Network(file, _session(file, None, sha256, settings), False, most)


def _session(
    file: OnnxFile, graph: bytes | None, sha256: str, settings: SwapSettings, sides_px: tuple[int, int] = (1, 1)
) -> Any:
    """A session of the file itself, or of a graph written anew from it, on the wanted provider and no other."""
    runtime, wanted = onnxruntime(), settings.engine
    load_libraries(wanted.provider, runtime)
    tensorrt = wanted.provider == "tensorrt"
    content: bytes | str = graph or (str(file.path) if tensorrt else file.graph(external=True))
    compiled, shapes = Path(), dict[str, str]()
    if tensorrt:
        root = wanted.compiled or settings.paths.scratch / "engines"
        compiled = compiled_folder(root, sha256, device_name(wanted.device_id), versions())
        compiled.mkdir(parents=True, exist_ok=True)
        opened = {value.name: value.shape[1:] for value in file.inputs if is_per_picture(value)}
        batch = 1 if any(None in value.shape[1:] for value in file.inputs) else wanted.faces_at_once
        shapes = tensorrt_shapes(opened if graph is not None else open_sides(file.inputs), batch, sides_px)
    _limit_memory(runtime, wanted)
    options = session_options(runtime, wanted, file.path.parent)
    try:
        session = runtime.InferenceSession(
            content, sess_options=options, providers=provider_options(wanted, compiled, shapes)
        )
        session.disable_fallback()
    except Exception as error:  # as above
        if wanted.provider != "cpu" and "ExecutionProvider" in str(error):
            raise provider_failed(wanted.provider, error) from error
        raise _unusable(file.path, error) from error
    require_running(wanted.provider, session.get_providers())
    return session


def _limit_memory(runtime: Any, settings: EngineSettings) -> None:
    """Bounds what all networks of this process take for their work on the CPU. ONNX Runtime takes one such bound."""
    if settings.provider != "cpu" or not settings.memory_limit_bytes or _limited:
        return
    with _guard:
        if not _limited:
            arena = runtime.OrtArenaCfg({"max_mem": settings.memory_limit_bytes, "arena_extend_strategy": 1})
            place = runtime.OrtMemoryInfo(
                "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
            )
            runtime.create_and_register_allocator(place, arena)
            _limited.append(settings.memory_limit_bytes)


def _samples(file: OnnxFile, count: int, side_px: int = 1) -> dict[str, NDArray[Any]]:
    """Arrays of noise for every input, always the same; sides that the file leaves open are `side_px`."""
    generator = np.random.Generator(np.random.PCG64(1))
    samples: dict[str, NDArray[Any]] = {}
    for value in file.inputs:
        sides = [side or side_px for side in value.shape]
        if is_per_picture(value):
            sides[0] = count
        if math.prod(sides) > _MOST_SAMPLES:
            raise _unusable(file.path, ValueError(f"{value.name!r} is an input of {'x'.join(map(str, sides))} numbers"))
        samples[value.name] = generator.random(sides, np.float32)
    return samples


def _alike(some: list[Floats], others: list[Floats]) -> bool:
    for one, other in zip(some, others, strict=True):
        if one.shape != other.shape or not np.isfinite(one).all():
            return False
        if np.abs(one - other).max(initial=0) > _SAME * max(1e-6, float(np.abs(other).max(initial=0))):
            return False
    return True


def _cast(array: NDArray[Any], value: ValueInfo) -> NDArray[Any]:
    return np.ascontiguousarray(array, value.dtype)


def _failed(path: Path, error: Exception) -> EngineError:
    if any(words in str(error) for words in ("Failed to allocate memory", "Available memory of", "out of memory")):
        return EngineError(
            "engine.out_of_memory",
            f"The network {path.name!r} needs more memory than is available: {_first_line(error)}.",
            "Raise FACEFLOW_ENGINE__MEMORY_LIMIT_BYTES, or lower FACEFLOW_ENGINE__BATCH or the pixel boost.",
            model=path.name,
        )
    return EngineError(
        "engine.run_failed",
        f"The network {path.name!r} failed: {_first_line(error)}.",
        "Check the file with `faceflow models verify`; it may be a different network than its name suggests.",
        model=path.name,
    )


def _unusable(path: Path, error: Exception) -> EngineError:
    if "memory" in str(error).lower():
        return _failed(path, error)
    return EngineError(
        "engine.model_unusable",
        f"ONNX Runtime cannot load the model file {path.name!r}: {_first_line(error)}.",
        "Check the file with `faceflow models verify`, and update ONNX Runtime if the network needs a newer version.",
        model=path.name,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
