"""`faceflow faces` and `faceflow swap --map`: who is there, on screen and as JSON, and what is said where it fails."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.staged import MAN, WOMAN, Placed, still, write_clip
from faceflow.gateway.cli.faces import faces
from tests.conftest import ROOT, Program, answers
from tests.faces import ASTRONAUT, CARPHONE, SIX_PEOPLE, ffmpeg, portrait


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two") / "two people.mp4"
    left, right = (180, 180), (460, 180)
    write_clip(
        path,
        [
            still(1, Placed(MAN, *left), Placed(WOMAN, *right)),
            still(0.5, Placed(WOMAN, *left), Placed(MAN, *right)),
            still(0.5, Placed(WOMAN, *left)),
        ],
    )
    return path


@pytest.fixture
def without_the_extra(tmp_path: Path) -> dict[str, str]:
    """An environment in which the recogniser's package is hidden behind an empty one."""
    package = tmp_path / "shadow" / "face_recognition_models"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return {"PYTHONPATH": f"{package.parent}:{ROOT}"}


def test_people_are_listed_with_numbers_and_a_sheet(offline_program: Program, clip: Path, tmp_path: Path) -> None:
    done = offline_program("faces", clip, "-o", tmp_path / "sheet.png", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    answer = done.answer
    assert answer["sheet"] == str(tmp_path / "sheet.png")
    assert (answer["shots"], answer["told_apart"]) == (3, True)
    assert [person["number"] for person in answer["people"]] == [0, 1]
    assert sorted(person["shots"] for person in answer["people"]) == [[0, 1], [0, 1, 2]]
    assert sorted(round(person["seconds"], 1) for person in answer["people"]) == [1.5, 2.0]
    assert all(person["first_seen_s"] == 0 for person in answer["people"])
    assert all(100 < person["largest_height_px"] < 170 for person in answer["people"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 2 * 192
        assert sheet.height > 192
    assert not list((offline_program.state).rglob("*")), "listing faces needs no server"


def test_the_table_is_for_people_and_says_what_it_cannot_know(
    offline_program: Program, clip: Path, tmp_path: Path, without_the_extra: dict[str, str]
) -> None:
    human = {"FACEFLOW_LOG__FORMAT": "human", "COLUMNS": "200"}
    done = offline_program("faces", clip, "-o", tmp_path / "known.jpg", **human)
    assert done.exit_code == 0, done.stderr
    assert "first seen" in done.stdout
    assert "faceflow[people]" not in done.stdout
    done = offline_program("faces", clip, "-o", tmp_path / "unknown.webp", **human, **without_the_extra)
    assert done.exit_code == 0, done.stderr
    assert "faceflow[people]" in done.stdout
    assert Image.open(tmp_path / "unknown.webp").size == Image.open(tmp_path / "known.jpg").size


def test_a_picture_has_people_too(offline_program: Program, tmp_path: Path) -> None:
    done = offline_program("faces", SIX_PEOPLE, "-o", tmp_path / "six.jpg", "--json")
    assert [person["number"] for person in done.answer["people"]] == [0, 1, 2, 3, 4, 5]
    heights = [person["largest_height_px"] for person in done.answer["people"]]
    assert heights == sorted(heights, reverse=True)


def test_without_a_name_the_sheet_lies_where_the_command_was_given(offline_program: Program, tmp_path: Path) -> None:
    done = offline_program("faces", ASTRONAUT, "--json")
    assert done.answer["sheet"] == str(tmp_path / "astronaut.faces.jpg")
    assert (tmp_path / "astronaut.faces.jpg").is_file()


def test_people_are_listed_where_the_sheet_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("faceflow.gateway.cli.faces.write_people_sheet", full)
    faces(str(ASTRONAUT), output=str(tmp_path / "sheet.png"), as_json=True)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["sheet"], len(said["people"])) == (None, 1)
    assert [note.split(":")[0] for note in said["notes"]] == ["The sheet could not be made"]
    assert said["notes"][0].endswith("[fault.disk_full]")


def test_bad_input_ends_in_its_own_error(offline_program: Program, tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_text("Dear reader,\n" * 100)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=1:r=10", "-pix_fmt", "yuv420p", tmp_path / "t.mp4")
    own, folder = portrait(tmp_path), tmp_path / "sheet.png"
    folder.mkdir()
    wrong: dict[str, list[Path | str]] = {
        "media.missing": [tmp_path / "nowhere.mp4"],
        "media.not_media": [tmp_path / "letter.mp4"],
        "face.none_in_target": [tmp_path / "t.mp4", "-o", tmp_path / "t.jpg"],
        "output.ending_unknown": [ASTRONAUT, "-o", tmp_path / "sheet.mp4"],
        "output.folder_missing": [ASTRONAUT, "-o", tmp_path / "deep" / "sheet.jpg"],
        "output.is_input": [own, "-o", own],
        "output.is_directory": [ASTRONAUT, "-o", folder],
        "job.usage": [],
    }
    before = sorted(tmp_path.iterdir())
    said = answers(offline_program, [["faces", *arguments] for arguments in wrong.values()])
    assert [(code, answer["code"]) for code, answer in said] == [(2, code) for code in wrong]
    assert sorted(tmp_path.iterdir()) == before


MAPS = {
    "one of several sources has to be named": (["--source", "b={face}", "--map", "0"], "job.usage"),
    "a source that is not there": (["--source", "b={face}", "--map", "0=carla"], "job.usage"),
    "a number goes to a source that is not there": (["--map", "0=carla"], "job.usage"),
    "a source without a name": (["--source", "{face}"], "job.usage"),
    "a map and a selection that contradicts it": (["--map", "0", "--faces", "all"], "job.usage"),
    "two sources and no map": (["--source", "b={face}"], "job.face_map_missing"),
    "mapped without a map": (["--faces", "mapped"], "job.face_map_missing"),
    "a reference that is not there": (["--map", "nobody.png"], "picture.missing"),
    "a reference with several faces": (["--map", "{six}"], "face.several_in_reference"),
}


def test_a_wrong_map_is_said_before_anything_starts(offline_program: Program, tmp_path: Path) -> None:
    words = {"face": ASTRONAUT, "six": SIX_PEOPLE}
    common: list[Path | str] = ["swap", ASTRONAUT, CARPHONE, "-o", tmp_path / "out.mp4"]
    commands = [[*common, *(text.format(**words) for text in arguments)] for arguments, _ in MAPS.values()]
    said = answers(offline_program, commands)
    found = {name: answer["code"] for name, (_, answer) in zip(MAPS, said, strict=True)}
    assert found == {name: code for name, (_, code) in MAPS.items()}
    assert {code for code, _ in said} == {2}


def test_a_reference_picture_needs_the_extra(
    offline_program: Program, tmp_path: Path, without_the_extra: dict[str, str]
) -> None:
    arguments = [ASTRONAUT, CARPHONE, "-o", tmp_path / "out.mp4", "--map", ASTRONAUT, "--json"]
    done = offline_program("swap", *arguments, **without_the_extra)
    assert (done.exit_code, done.answer["code"]) == (2, "job.mapping_needs_recogniser")
    assert "the extra `people`" in done.answer["resolution"]


def test_two_sources_go_to_two_people(program: Program, clip: Path, tmp_path: Path) -> None:
    with Image.open(SIX_PEOPLE) as people:
        people.crop((400, 250, 650, 500)).save(tmp_path / "ben=1.png")
    arguments = ["--source", f"anna={ASTRONAUT}", "--source", f"ben={tmp_path / 'ben=1.png'}"]
    ffmpeg("-i", CARPHONE, "-frames:v", "1", tmp_path / "him.png")
    mapped = ["--map", f"{tmp_path / 'him.png'}=anna", "--map", "1=ben"]
    done = program("swap", clip, *arguments, *mapped, "-o", tmp_path / "out.mp4", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert (done.answer["frames"], done.answer["faces"]) == (48, 84)
