"""Networks from the command line: what is asked for runs, or is refused at once; the result says what was taken."""

from __future__ import annotations

import resource

import pytest

from benchmarks.material import ASTRONAUT
from tests.engines.test_insightface import ENGINE, FRAMES, NEEDED, world
from tests.vision.test_stages import clip

__all__ = ["world"]


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


def test_insightface_finds_and_chooses_from_the_command_line(program, studio, environment, world, tmp_path):
    studio.install("2dfan4", "occluder")
    done = program(
        "swap", world / "blue.png", world / "three.mp4", "-o", tmp_path / "out.mp4", "--json", "--consent", "test",
        "--engine", ENGINE, "--restorer", "none", "--analyser", "insightface", "--order", "left-right", "--first", "2",
        "--age", "-45", "--landmarker", "2dfan4", "--mask", "occlusion", "--occlusion-model", "occluder", **environment,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.answer["faces"] == 2 * FRAMES
    loaded = {event["file"] for event in done.events if event["event"] == "model.loaded"}
    assert loaded == (NEEDED - {"2d106det.onnx"}) | {"genderage.onnx", "2dfan4.onnx", "occluder.onnx"}


def test_the_people_are_listed_as_insightface_sees_them(offline_program, environment, world, tmp_path):
    listed = offline_program(
        "faces", world / "three.mp4", "-o", tmp_path / "who.jpg", "--analyser", "insightface", "--json", **environment
    )
    assert listed.exit_code == 0, listed.stderr
    assert listed.answer["told_apart"] and len(listed.answer["people"]) == 3


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--age", "young"), "job.usage"),
        (("--age", "40-20"), "job.invalid"),
        (("--faces", "all", "--order", "left-right"), "job.usage"),
        (("--faces", "largest", "--first", "2"), "job.usage"),
        (("--first", "0"), "job.invalid"),
        (("--map", "0", "--gender", "male"), "job.selection_conflict"),
        (("--analyser", "retina"), "job.engine_unknown"),
        (("--analyser", "insightface", "--engine", "mesh"), "job.analyser_unfit"),
        (("--analyser", "yunet_2023_mar", "--engine", "mesh"), "job.analyser_unfit"),
        (("--landmarker", "2dfan4"), "job.landmarker_unfit"),
        (("--analyser", "insightface", "--engine", ENGINE, "--landmarker", "dlib"), "job.engine_unknown"),
    ],
)
def test_a_selection_that_cannot_be_is_refused_at_once(offline_program, environment, world, tmp_path, options, code):
    done = offline_program(
        "swap", world / "blue.png", world / "three.mp4", "-o", tmp_path / "out.mp4", "--json", *options, **environment
    )
    assert (done.exit_code, done.answer["code"]) == (2, code)


def test_a_provider_that_is_not_there_ends_the_command_at_once(offline_program, studio, environment, tmp_path):
    studio.install("inswapper_128")
    target = clip(tmp_path, frames=2)
    before = cpu_seconds()
    done = offline_program(
        "swap", ASTRONAUT, target, "-o", tmp_path / "out.mp4", "--json", "--consent", "test",
        "--engine", "inswapper_128", **environment, FACEFLOW_ENGINE__PROVIDER="cuda",
    )  # fmt: skip
    seconds = cpu_seconds() - before
    assert done.exit_code == 1
    assert done.answer["code"] == "engine.provider_missing"
    assert "onnxruntime-gpu" in done.answer["resolution"]
    assert not [event for event in done.events if event["event"] in {"model.loaded", "stage.started"}]
    assert not (tmp_path / "out.mp4").exists()
    assert seconds < 8, seconds  # it takes 2, and to CPU time, too, a very busy machine adds as much again


def cpu_seconds() -> float:
    """Of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
