"""A killed run goes on where it was: the same command finishes it, redoes only what was in flight, same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.conftest import Finished, Program, paused
from tests.faces import face_clip, portrait
from tests.prefect_api import PrefectApi
from tests.warm import Moment

SEGMENT_S = "0.33"
SEGMENTS = 6
IN_FLIGHT = 2


def started(stage: str, count: int = 1) -> Moment:
    return Moment("stage.started", stage, count)


def finished(stage: str, count: int = 1) -> Moment:
    return Moment("stage.finished", stage, count)


QUICK = (finished("compose", 4), finished("upload"))
FULL = (
    Moment("job.started"), started("validate"), finished("validate"), started("transcode"), finished("transcode"),
    started("segment"), finished("segment"), started("swap"), started("swap", 2), finished("swap"), started("restore"),
    finished("restore", 2), started("compose"), finished("compose"), started("swap", 3), started("compose", 4),
    finished("compose", 6), started("join"), finished("join"), started("upload"), started("swap", 6),
    finished("swap", 6), started("restore", 5),
)  # fmt: skip


@dataclass(frozen=True)
class Clip:
    source: Path
    target: Path
    sha256: str


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def swap_arguments(clip_source: Path, target: Path, output: Path) -> list[str | Path]:
    # The longest side forces a transcode, so that this stage has something to lose too.
    options = ["--segment-length", SEGMENT_S, "--max-long-side", "160"]
    return ["swap", clip_source, target, "-o", output, "--json", *options]


@pytest.fixture(scope="module")
def clip(shared_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two seconds in six segments, and the bytes that an uninterrupted run gives."""
    folder = tmp_path_factory.mktemp("clip")
    source, target = portrait(folder), face_clip(folder / "target.mp4", seconds=2.0)
    output = folder / "whole.mp4"
    done = Program(shared_state, folder / "scratch")(*swap_arguments(source, target, output))
    assert done.exit_code == 0, done.stdout + done.stderr
    assert len(segments_of(done, "compose")) == SEGMENTS
    return Clip(source, target, digest(output))


def segments_of(done: Finished, stage: str) -> list[int]:
    return [event["segment"] for event in done.events if event["event"] == "stage.finished" and event["stage"] == stage]


def run_until(program: Program, moment: Moment, arguments: list[str | Path]) -> list[dict[str, Any]]:
    """Runs and SIGKILLs at the moment. Returns the events seen."""
    process = program.start(*arguments, pause_at=moment)
    seen = paused(process, moment)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=120)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, f"the killed run left processes behind: {alive}"
    return seen


def shown_percent(program: Program) -> float:
    """Where the bar of the newest run stands in the Prefect UI."""
    record = running_server(Settings(paths=PathSettings(state=program.state, scratch=program.scratch)))
    assert record is not None
    wanted = {"key": {"any_": ["swap-progress"]}}
    server = PrefectApi(record.api_url, "")
    [newest] = server.api("POST", "/artifacts/filter", artifacts=wanted, sort="CREATED_DESC", limit=1)
    return float(newest["data"])


@pytest.mark.parametrize(
    "moment", [*QUICK, *(pytest.param(moment, marks=pytest.mark.full) for moment in FULL)], ids=str
)
def test_a_killed_run_goes_on_with_the_same_bytes(program: Program, clip: Clip, tmp_path: Path, moment: Moment) -> None:
    output = tmp_path / "out.mp4"
    arguments = swap_arguments(clip.source, clip.target, output)
    before = run_until(program, moment, arguments)
    composed = {
        event["segment"] for event in before if event["event"] == "stage.finished" and event["stage"] == "compose"
    }

    done = program(*arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert digest(output) == clip.sha256
    again = segments_of(done, "compose")
    # A segment that had just been composed may be killed before its result was kept; it then was in flight.
    assert len(again) <= SEGMENTS - len(composed) + IN_FLIGHT
    assert len(set(again)) == len(again)
    assert shown_percent(program) == 100.0
    assert list(program.scratch.rglob("*.*")) == [], "the finished job left files behind"


@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_a_finished_artifact_that_was_lost_is_made_again(
    program: Program, clip: Clip, tmp_path: Path, damage: str
) -> None:
    output = tmp_path / "out.mp4"
    arguments = swap_arguments(clip.source, clip.target, output)
    run_until(program, started("join"), arguments)
    parts = sorted(program.scratch.rglob("part-*.mp4"))
    assert len(parts) == SEGMENTS
    if damage == "deleted":
        parts[2].unlink()
    else:
        os.truncate(parts[2], parts[2].stat().st_size // 2)
    done = program(*arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert segments_of(done, "compose") == [2]
    assert digest(output) == clip.sha256


def test_scratch_that_vanished_costs_time_and_nothing_else(program: Program, clip: Clip, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    arguments = swap_arguments(clip.source, clip.target, output)
    run_until(program, finished("compose", 3), arguments)
    shutil.rmtree(program.scratch)
    done = program(*arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert digest(output) == clip.sha256


def test_a_finished_job_is_found_and_a_lost_output_is_made_again(program: Program, clip: Clip, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    arguments = swap_arguments(clip.source, clip.target, output)
    first = program(*arguments)
    assert first.exit_code == 0, first.stdout + first.stderr
    second = program(*arguments)
    assert [event["event"] for event in second.events] == ["run.started", "job.found_finished"]
    assert second.answer == {**first.answer, "already_done": True}
    output.unlink()
    assert program(*arguments).exit_code == 0
    assert digest(output) == clip.sha256


def test_the_same_job_twice_at_once_runs_once(program: Program, clip: Clip, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    arguments = swap_arguments(clip.source, clip.target, output)
    both = [program.start(*arguments) for _ in range(2)]
    done = [Finished(process.returncode, *said) for process in both for said in [process.communicate(timeout=240)]]
    assert [run.exit_code for run in done] == [0, 0], done
    names = sorted(event["event"] for run in done for event in run.events if event["event"].startswith("job."))
    assert names == ["job.finished", "job.found_finished", "job.started"]
    assert {**done[0].answer, "already_done": True} == {**done[1].answer, "already_done": True}
    assert sorted(run.answer["already_done"] for run in done) == [False, True]
    assert digest(output) == clip.sha256


def test_two_jobs_with_the_same_file_names_do_not_meet(program: Program, clip: Clip, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        shutil.copyfile(clip.source, folder / "source.png")
    shutil.copyfile(clip.target, folders[0] / "target.mp4")
    face_clip(folders[1] / "target.mp4", seconds=0.5)
    running = [
        program.start(*swap_arguments(folder / "source.png", folder / "target.mp4", folder / "out.mp4"))
        for folder in folders
    ]
    done = [Finished(process.returncode, *said) for process in running for said in [process.communicate(timeout=240)]]
    assert [run.exit_code for run in done] == [0, 0], done
    assert digest(folders[0] / "out.mp4") == clip.sha256
    assert done[0].answer["frames"] == 60
    assert done[1].answer["frames"] == 15


def test_a_stopped_run_says_so_and_goes_on_later(program: Program, clip: Clip, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    arguments = swap_arguments(clip.source, clip.target, output)
    moment = finished("compose", IN_FLIGHT + 1)  # so that the result of the first one is surely kept
    process = program.start(*arguments, pause_at=moment)
    paused(process, moment)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    stdout, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert json.loads(stdout)["code"] == "fault.cancelled"
    assert not list(program.scratch.rglob("*.tmp*"))
    done = program(*arguments)
    assert done.exit_code == 0
    assert len(segments_of(done, "compose")) < SEGMENTS
    assert digest(output) == clip.sha256
