"""Sessions: the wanted provider or an error, loaded once, the same result in a batch, memory of one copy."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from faceflow.errors import EngineError
from faceflow.infrastructure.settings import Settings
from faceflow.settings import EngineSettings
from faceflow.vision.runtime import networks, options
from faceflow.vision.runtime.graph_file import OnnxFile
from faceflow.vision.runtime.networks import open_network, release_networks
from faceflow.vision.runtime.providers import require_provider, require_running
from tests.engines.graphs import DOUBLE, FLOAT, HALF, constant, node, save, styled, value


@pytest.fixture(autouse=True)
def nothing_stays_loaded():
    yield
    release_networks()


def settings(**engine) -> Settings:
    return Settings(engine=EngineSettings(threads=1, **engine))


def feeds(count, side=16):
    generator = np.random.default_rng(7)
    return {
        "target": generator.random((count, 3, side, side), np.float32),
        "source": generator.standard_normal((count, 512)).astype(np.float32),
    }


def alone(path, inputs):
    """What ONNX Runtime itself makes of the untouched file, picture by picture."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    count = len(inputs["target"])
    made = [session.run(None, {name: array[n : n + 1] for name, array in inputs.items()})[0] for n in range(count)]
    return np.concatenate(made)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_missing_provider_is_an_error_that_says_how_to_install_it(tmp_path, provider):
    begun = time.monotonic()
    with pytest.raises(EngineError) as caught:
        open_network(styled(tmp_path / "a.onnx"), "a", settings(provider=provider))
    assert time.monotonic() - begun < 3
    assert caught.value.code == "engine.provider_missing"
    assert "onnxruntime-gpu" in caught.value.resolution
    assert not networks._networks


def test_what_onnx_runtime_silently_fell_back_to_is_an_error():
    silent = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    require_provider("cuda", silent)  # the build has it: only the session can tell that it does not start
    with pytest.raises(EngineError, match="fell back to CPUExecutionProvider"):
        require_running("cuda", ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match="fell back to CUDAExecutionProvider"):
        require_running("tensorrt", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    require_running("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"])


def test_a_session_that_came_up_elsewhere_is_not_used(tmp_path, monkeypatch):
    class Fallen(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *arguments, providers, **more):
            super().__init__(*arguments, providers=["CPUExecutionProvider"], **more)

    fake = SimpleNamespace(**{name: getattr(onnxruntime, name) for name in dir(onnxruntime) if name[0] != "_"})
    fake.InferenceSession = Fallen
    monkeypatch.setattr(networks, "onnxruntime", lambda: fake)
    monkeypatch.setattr(networks, "require_provider", lambda provider: None)
    with pytest.raises(EngineError, match="fell back") as caught:
        open_network(styled(tmp_path / "a.onnx"), "a", settings(provider="cuda"))
    assert caught.value.code == "engine.provider_missing"
    assert not networks._networks


def test_compiled_networks_are_kept_by_file_device_and_versions(tmp_path):
    folder = options.compiled_folder(tmp_path, "ab" * 32, "NVIDIA H200", {"tensorrt": "10.1"})
    assert folder.parent.name == "ab" * 8
    assert folder.name.startswith("NVIDIA-H200-")
    others = [
        options.compiled_folder(tmp_path, "cd" * 32, "NVIDIA H200", {"tensorrt": "10.1"}),
        options.compiled_folder(tmp_path, "ab" * 32, "NVIDIA L4", {"tensorrt": "10.1"}),
        options.compiled_folder(tmp_path, "ab" * 32, "NVIDIA H200", {"tensorrt": "10.2"}),
    ]
    assert len({folder, *others}) == 4
    wanted = EngineSettings(provider="tensorrt", device_id=1, memory_limit_bytes=7, batch=4)
    shapes = options.tensorrt_shapes({"target": (3, 128, 128), "source": (512,)}, 4)
    (first, given), (second, cuda) = options.provider_options(wanted, folder, shapes)
    assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert given["trt_engine_cache_path"] == given["trt_timing_cache_path"] == str(folder)
    assert given["trt_fp16_enable"] and given["trt_engine_cache_enable"] and given["trt_timing_cache_enable"]
    assert given["trt_profile_max_shapes"] == "target:4x3x128x128,source:4x512"
    assert given["trt_profile_min_shapes"] == "target:1x3x128x128,source:1x512"
    assert (given["device_id"], cuda["device_id"], cuda["gpu_mem_limit"]) == (1, 1, 7)
    assert [name for name, _ in options.provider_options(EngineSettings(), folder, {})] == ["CPUExecutionProvider"]


def test_threads_are_chosen_settable_and_do_not_spin(tmp_path):
    made = options.session_options(onnxruntime, EngineSettings(threads=3), tmp_path)
    assert made.intra_op_num_threads == 3
    assert made.inter_op_num_threads == 1
    assert made.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.thread_count(EngineSettings()) >= 1


@pytest.mark.parametrize("held_shape", [False, True])
def test_a_batch_through_a_file_of_one_equals_single_runs(tmp_path, held_shape):
    path = styled(tmp_path / "a.onnx", held_shape=held_shape)
    network = open_network(path, "a", settings(batch=4))
    assert network.batched
    inputs = feeds(6)  # a full batch and a rest
    np.testing.assert_allclose(network.run(inputs)[0], alone(path, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("takes_more", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_no_more_go_through_at_once_than_the_settings_say(tmp_path, monkeypatch, takes_more, batch):
    path = tmp_path / "a.onnx"
    if takes_more:
        shape = ["N", 3, 4, 4]
        save(path, [node("Neg", ["target"], "output")], [value("target", shape)], [value("output", shape)])
    else:
        styled(path)
    network = open_network(path, "a", settings(batch=batch))
    inputs = {"target": feeds(5, 4)["target"]} if takes_more else feeds(5)
    counts, run = [], network._run
    monkeypatch.setattr(network, "_run", lambda cast, *more: counts.append(len(cast["target"])) or run(cast, *more))
    (made,) = network.run(inputs, reuse=True)
    assert counts == ([1] * 5 if batch == 1 else [2, 2, 1])
    expected = -inputs["target"] if takes_more else alone(path, inputs)
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)


def test_how_many_faces_go_at_once_is_the_providers_business_until_it_is_said():
    assert EngineSettings().faces_at_once == 1
    assert EngineSettings(provider="cuda").faces_at_once == EngineSettings(provider="tensorrt").faces_at_once == 4
    assert EngineSettings(batch=3).faces_at_once == EngineSettings(provider="cuda", batch=3).faces_at_once == 3


def test_a_network_that_mixes_pictures_runs_them_one_by_one(tmp_path):
    path = styled(tmp_path / "a.onnx", folded=True)
    network = open_network(path, "a", settings(batch=4))
    assert not network.batched
    inputs = feeds(3)
    np.testing.assert_allclose(network.run(inputs)[0], alone(path, inputs), rtol=0, atol=1e-5)


def test_half_precision_files_take_and_give_single_precision(tmp_path):
    half, single = styled(tmp_path / "half.onnx", kind=HALF), styled(tmp_path / "single.onnx")
    inputs = feeds(2)
    made = open_network(half, "half", settings(batch=2)).run(inputs)[0]
    assert made.dtype == np.float32
    exact = open_network(single, "single", settings()).run(inputs)[0]
    assert np.abs(made - exact).max() < 0.01 * np.abs(exact).max()


def test_a_number_for_the_whole_batch_is_not_split(tmp_path):
    path = save(
        tmp_path / "a.onnx",
        [node("Cast", ["weight"], "single", to=FLOAT), node("Mul", ["input", "single"], "output")],
        [value("input", [1, 3, 4, 4]), value("weight", [1], DOUBLE)],
        [value("output", [1, 3, 4, 4])],
    )
    picture = np.random.default_rng(1).random((3, 3, 4, 4), np.float32)
    for batch in (1, 4):
        made = open_network(path, "a", settings(batch=batch)).run({"input": picture, "weight": np.array([0.5])})
        np.testing.assert_allclose(made[0], picture / 2, rtol=1e-6)


def test_the_file_is_read_without_a_parser(tmp_path):
    path = save(
        tmp_path / "a.onnx",
        [node("MatMul", ["x", "big"], "y"), node("Add", ["y", "small"], "z")],
        [value("x", ["batch", 64])],
        [value("z", ["batch", 64])],
        [constant("big", np.arange(64 * 64, dtype=np.float32).reshape(64, 64)), constant("small", np.float32(2))],
    )
    file = OnnxFile(path)
    assert [(one.name, one.shape, one.dtype) for one in file.inputs] == [("x", (None, 64), np.dtype("float32"))]
    assert [one.name for one in file.outputs] == ["z"]
    assert np.array_equal(file.constant("big"), np.arange(64 * 64).reshape(64, 64))
    assert file.last_initializer() == 2
    outline = file.graph(external=True)
    assert len(outline) < 600
    full = file.graph(external=False)
    session = onnxruntime.InferenceSession(full, providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {"x": np.eye(64, dtype=np.float32)})[0], file.constant("big") + 2)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x3a\xff\xff\xff\x7f", b"\x08\x08", bytes(range(256))])
def test_what_is_no_model_is_an_error_of_the_engine(tmp_path, content):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"engine\.model_"):
        open_network(path, "a", settings())


def test_a_memory_limit_holds(tmp_path):
    """In a process of its own: ONNX Runtime takes one limit a process."""
    path = save(
        tmp_path / "a.onnx",
        [
            node("Exp", ["x"], "a"),
            node("Transpose", ["a"], "b", perm=[0, 2, 1]),
            node("MatMul", ["a", "b"], "c"),
            node("ReduceMax", ["c"], "y", axes=[2]),
        ],
        [value("x", [1, 3000, 4])],
        [value("y", [1, 3000, 1])],
    )
    code = f"""
import numpy as np
from pathlib import Path
from faceflow.errors import EngineError
from faceflow.infrastructure.settings import Settings
from faceflow.settings import EngineSettings
from faceflow.vision.runtime.networks import open_network
try:
    open_network(Path({str(path)!r}), "a", Settings(engine=EngineSettings(memory_limit_bytes=LIMIT)))
    print("fits")
except EngineError as error:
    print(error.code)
"""
    for limit, word in ((8 << 20, "engine.out_of_memory"), (256 << 20, "fits")):
        said = subprocess.run(
            [sys.executable, "-c", code.replace("LIMIT", str(limit))],
            capture_output=True, text=True, timeout=60, check=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert said.stdout.split()[-1] == word


def test_eight_threads_load_a_network_once(tmp_path, monkeypatch):
    path = styled(tmp_path / "a.onnx")
    made = []
    session = networks._session
    monkeypatch.setattr(networks, "_session", lambda *arguments: made.append(1) or session(*arguments))
    barrier = threading.Barrier(8)

    def ask(_):
        barrier.wait()
        return open_network(path, "a", settings())

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(ask, range(8)))
    assert (len(found), len(made)) == (1, 1)
    release_networks()
    assert open_network(path, "a", settings()) not in found


LOAD = """
import resource, sys, threading
from pathlib import Path
from faceflow.infrastructure.settings import Settings
from faceflow.settings import EngineSettings
import numpy, onnxruntime
from faceflow.vision.runtime import networks
import time
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
before = status("VmRSS")
path = Path(sys.argv[1])
barrier, found = threading.Barrier(8), []
def ask():
    barrier.wait()
    found.append(networks.open_network(path, "a", Settings(engine=EngineSettings(threads=2, batch=int(sys.argv[2])))))
threads = [threading.Thread(target=ask) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 8 and len(set(found)) == 1
print(status("VmHWM") - before)
"""


@pytest.mark.full
@pytest.mark.parametrize("batch", [1, 2])
def test_a_network_of_554_mb_takes_memory_for_little_more_than_one_copy(tmp_path, batch):
    path = deep(tmp_path / "deep.onnx")
    size = path.stat().st_size
    assert 550e6 < size < 560e6
    said = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), str(batch)],
        capture_output=True, text=True, timeout=280, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    path.unlink()
    assert int(said.stdout.split()[-1]) < 1.4 * size, said.stdout


def deep(path: Path) -> Path:
    """14 convolutions of 1024 channels of noise, and two of more, over a small picture: 554 MB."""
    generator = np.random.default_rng(3)
    constants = [constant("in", generator.standard_normal((1024, 3, 1, 1), np.float32))]
    nodes, last = [node("Conv", ["target", "in"], "layer")], "layer"
    for number, (inner, outer, side) in enumerate([(1024, 1024, 3)] * 14 + [(1024, 3100, 1), (3100, 1024, 1)]):
        weights = generator.standard_normal((outer, inner, side, side), np.float32) * np.float32(0.01)
        constants.append(constant(f"weights{number}", weights))
        nodes.append(node("Conv", [last, f"weights{number}"], f"conv{number}", pads=[side // 2] * 4))
        nodes.append(node("Relu", [f"conv{number}"], f"layer{number}"))
        last = f"layer{number}"
    constants += [constant("out", generator.standard_normal((3, 1024, 1, 1), np.float32))]
    nodes.append(node("Conv", [last, "out"], "output"))
    return save(path, nodes, [value("target", [1, 3, 8, 8])], [value("output", [1, 3, 8, 8])], constants)
