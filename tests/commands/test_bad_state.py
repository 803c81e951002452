"""Files of faceflow's own that are broken: a code with a way out, or made anew; never a traceback.

Varied: the record of a job, the record of a server, the database, the folders; and what is found in their place
(nothing, bytes that are no text, JSON of another form, nested without end, a folder, a link in a circle).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceflow.gateway.cli.main import main
from faceflow.infrastructure.machine.ledger import JobPlace
from faceflow.infrastructure.machine.server.record import ServerFiles
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.machine_faults import fault_of_machine
from faceflow.settings import PathSettings
from faceflow.stages.identity import JobIdentity

IDENTITY = JobIdentity(job_id="a" * 24, project="film", target_sha256="", portraits_sha256=())
BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "cut": lambda path: path.write_bytes(b'{"job_id": "aa'),
    "another form": lambda path: path.write_bytes(b'{"job_id": [], "api_url": 1, "keeper_pid": -1}'),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "a folder": lambda path: path.mkdir(),
    "a circle": lambda path: path.symlink_to(path),
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FACEFLOW_PATHS__SCRATCH", str(tmp_path / "scratch"))
    current_settings.cache_clear()
    yield Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"))
    current_settings.cache_clear()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_record_of_a_job_is_none(broken: str, settings: Settings) -> None:
    place = JobPlace(settings, IDENTITY)
    place.create()
    BROKEN[broken](place.record)
    assert place.read_record() is None


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_record_of_a_server_is_none(broken: str, settings: Settings) -> None:
    files = ServerFiles(settings.paths.state)
    files.create()
    BROKEN[broken](files.record)
    assert files.read() is None


def test_a_record_of_a_foreign_process_is_none(settings: Settings) -> None:
    files = ServerFiles(settings.paths.state)
    files.create()
    known = {"api_url": "http://127.0.0.1:9/api", "ui_url": "", "server_pid": 1, "prefect_version": "3"}
    for pid in (1, 0, -1, 2**40):
        files.record.write_text(json.dumps({**known, "keeper_pid": pid, "keeper_started_ticks": 7}))
        assert files.read() is None, pid


@pytest.mark.parametrize("broken", [name for name in BROKEN if name != "empty"])  # an empty file is an empty database
def test_a_broken_database_is_told(broken: str, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = settings.paths.state / "faceflow.db"
    path.parent.mkdir()
    BROKEN[broken](path)
    code, exit_code = ended(["budget", "show"], capsys)
    assert exit_code == 1
    assert code in {"database.damaged", "database.unreachable"}, code


@pytest.mark.parametrize(("version", "code"), [("'9999'", "database.newer"), ("17", "database.newer")])
def test_a_database_of_another_version_is_told(
    version: str, code: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.paths.state.mkdir()
    with sqlite3.connect(settings.paths.state / "faceflow.db") as database:
        database.execute("CREATE TABLE faceflow_schema (version_num)")
        database.execute(f"INSERT INTO faceflow_schema VALUES ({version})")
    assert ended(["budget", "show"], capsys) == (code, 1)


def test_what_lies_in_the_place_of_a_file_of_ours_is_named(settings: Settings) -> None:
    place = JobPlace(settings, IDENTITY)
    place.create()
    place.lock.mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        place.lock.open("ab")
    fault = fault_of_machine(caught.value)
    assert fault is not None
    assert fault.code == "fault.file_odd"
    assert str(place.lock) in fault.message


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, int]:
    exit_code = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return str(json.loads(out).get("code")), exit_code
