"""Networks from the command line: what is asked for runs, or is refused at once; the result says what was taken."""

from __future__ import annotations

import time

import pytest

from benchmarks.material import ASTRONAUT
from tests.vision.test_stages import clip


@pytest.fixture
def environment(studio):
    return {
        "FACEFLOW_MODELS__EXTRA": str(studio.folder / "models.toml"),
        "FACEFLOW_MODELS__FOLDER": str(studio.folder / "models"),
    }


def test_auto_swaps_with_the_best_network_and_says_which(program, studio, environment, tmp_path):
    studio.install("inswapper_128", "gfpgan_1.4")
    done = program(
        "swap", ASTRONAUT, clip(tmp_path, frames=6), "-o", tmp_path / "out.mp4", "--json", "--consent", "test",
        "--engine", "auto", "--restorer", "gfpgan_1.4", **environment,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert (done.answer["engine"], done.answer["faces"]) == ("inswapper_128", 6)
    loaded = {event["file"] for event in done.events if event["event"] == "model.loaded"}
    assert {"inswapper_128.onnx", "w600k_r50.onnx", "gfpgan_1.4.onnx"} <= loaded


def test_a_provider_that_is_not_there_ends_the_command_at_once(offline_program, studio, environment, tmp_path):
    studio.install("inswapper_128")
    target = clip(tmp_path, frames=2)
    begun = time.monotonic()
    done = offline_program(
        "swap", ASTRONAUT, target, "-o", tmp_path / "out.mp4", "--json", "--consent", "test",
        "--engine", "inswapper_128", **environment, FACEFLOW_ENGINE__PROVIDER="cuda",
    )  # fmt: skip
    seconds = time.monotonic() - begun
    assert done.exit_code == 1
    assert done.answer["code"] == "engine.provider_missing"
    assert "onnxruntime-gpu" in done.answer["resolution"]
    assert not [event for event in done.events if event["event"] in {"model.loaded", "stage.started"}]
    assert not (tmp_path / "out.mp4").exists()
    assert seconds < 3 * slowness(), seconds


def slowness() -> float:
    """How much slower than a quiet core this machine is now: starting Python is most of the three seconds."""
    begun, used = time.monotonic(), time.process_time()
    sum(number * number for number in range(2_000_000))
    return max(1.0, (time.monotonic() - begun) / max(1e-3, time.process_time() - used))
