"""Files of faceflow's own that are broken: a code with a way out, or made anew; never a traceback.

Varied: the records of a job, a server, a model, signals and rules, the database, locks, the folders; and what is found
in their place (nothing, bytes that are no text, JSON of another form, nested without end, a folder, a pipe, a socket, a
device, a link in a circle). Then what the machine is: another process in the database, file systems that take no files
or know no locks, a clock that is set back.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faceflow.errors import ResourceError
from faceflow.infrastructure.books.campaigns.books import remember_campaign, take_wheel
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.machine.ledger import JobPlace, remove_stale_work
from faceflow.infrastructure.machine.server.lease import is_up
from faceflow.infrastructure.machine.server.record import ServerFiles
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.machine.server.starting import Start, look
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.sources.rules.state import Kept, KeptFile, LiveRules, RuleState
from faceflow.infrastructure.sources.signals.cache import SignalCache
from faceflow.machine_faults import fault_of_machine
from faceflow.own_files import open_existing, open_lock, open_log, read_own
from faceflow.settings import PathSettings
from faceflow.stages.identity import JobIdentity
from tests.conftest import ROOT
from tests.in_process import code_of, given

IDENTITY = JobIdentity(job_id="a" * 24, project="film", target_sha256="", portraits_sha256=())


def make_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)  # binding one would limit the path to 107 bytes


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "cut": lambda path: path.write_bytes(b'{"job_id": "aa'),
    "another form": lambda path: path.write_bytes(b'{"job_id": [], "api_url": 1, "keeper_pid": -1}'),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "a folder": lambda path: path.mkdir(),
    "a circle": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}
NO_FILES = ("a folder", "a circle", "a pipe", "a socket", "a device")


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


@pytest.mark.parametrize("broken", NO_FILES)
def test_a_broken_record_of_rules_or_signals_is_none(broken: str, settings: Settings, tmp_path: Path) -> None:
    rules = KeptFile(tmp_path, "rules")
    BROKEN[broken](tmp_path / f"{hashlib.sha256(b'rules').hexdigest()[:16]}.json")
    assert rules.read() == Kept(state=RuleState(source="rules"))
    BROKEN[broken](tmp_path / "prices.json")
    assert SignalCache(tmp_path).read("prices", "which") is None


@pytest.mark.parametrize("broken", [name for name in BROKEN if name != "empty"])  # an empty file is an empty database
def test_a_broken_database_is_told(broken: str, settings: Settings) -> None:
    path = settings.paths.state / "faceflow.db"
    path.parent.mkdir()
    BROKEN[broken](path)
    code, exit_code = ended("budget", "show")
    assert exit_code == 1
    assert code in {"database.damaged", "database.unreachable"}, code


@pytest.mark.parametrize(("version", "code"), [("'9999'", "database.newer"), ("17", "database.newer")])
def test_a_database_of_another_version_is_told(version: str, code: str, settings: Settings) -> None:
    settings.paths.state.mkdir()
    with sqlite3.connect(settings.paths.state / "faceflow.db") as database:
        database.execute("CREATE TABLE faceflow_schema (version_num)")
        database.execute(f"INSERT INTO faceflow_schema VALUES ({version})")
    assert ended("budget", "show") == (code, 1)


OF_A_BLOCK = ("policy", "show", "--rules", "block:film", "--pools", f"{ROOT}/deployments/policies/pools.yaml")
LOCKS = {
    "faceflow.db.lock": ("budget", "show"),
    "server/lease.lock": OF_A_BLOCK,
    "server/start.lock": OF_A_BLOCK,
    "server/up.lock": ("up",),
    "server": ("up",),
}
"""Files below the state folder, and a command that locks them. None comes as far as starting a server."""


@pytest.mark.parametrize("broken", NO_FILES)
@pytest.mark.parametrize("lock", LOCKS)
def test_what_lies_in_the_place_of_a_lock_is_named(lock: str, broken: str, settings: Settings) -> None:
    path = settings.paths.state / lock
    path.parent.mkdir(parents=True)
    if lock == "server" and broken == "a folder":
        path.write_text("which ought to be a folder")
    else:
        BROKEN[broken](path)
    done = given([*LOCKS[lock], *(["--json"] if LOCKS[lock] != ("up",) else [])])
    assert done.exit_code == 1
    said = done.stdout + done.stderr
    assert "fault.file_odd" in said or "fault.scratch_unusable" in said, said
    assert path.name in said
    assert "Traceback" not in said


def test_a_lock_is_never_waited_for_in_a_pipe(settings: Settings, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    for opened in (open_lock, open_existing, open_log, read_own):
        with pytest.raises(OSError, match=r"pipe|No such device") as caught:
            opened(tmp_path / "lock")
        fault = fault_of_machine(caught.value)
        assert fault is not None
        assert fault.code == "fault.file_odd"
    assert not is_up(settings)


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


@pytest.mark.parametrize("words", [("budget", "set", "film", "5"), ("budget", "show"), ("campaign", "status")])
def test_a_database_that_another_process_writes_is_waited_for_and_told(
    words: tuple[str, ...], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the settings say; readers do not wait for writers, except for the one that makes it."""
    assert ended("budget", "show") == ("", 0)
    monkeypatch.setenv("FACEFLOW_DATABASE__BUSY_TIMEOUT_S", "0.3")
    with closing(sqlite3.connect(settings.paths.state / "faceflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        done = given([*words, "--json"])
        waited_s = time.monotonic() - begun
        other.execute("ROLLBACK")
    if words[:2] == ("budget", "set"):
        assert (code_of(done), done.exit_code) == ("database.busy", 1)
        assert waited_s >= 0.3
        assert "another process was writing" in done.stdout
        assert ended(*words) == ("", 0)
    else:
        assert code_of(done) in {"", "job.unknown_campaign"}


def test_a_schema_that_another_process_makes_is_waited_for_and_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEFLOW_DATABASE__BUSY_TIMEOUT_S", "0.2")
    settings.paths.state.mkdir()
    with open_lock(settings.paths.state / "faceflow.db.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ended("budget", "show") == ("database.busy", 1)
    assert ended("budget", "show") == ("", 0)


@pytest.mark.parametrize("folder", ["/proc/faceflow", "/sys/faceflow", "/dev/null/faceflow", "/proc/self/fd/faceflow"])
def test_folders_that_take_no_files_are_told(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = JobPlace(Settings(paths=PathSettings(state=Path(folder), scratch=Path(folder))), IDENTITY)
    with pytest.raises(ResourceError) as caught:
        place.create()
    assert caught.value.code == "fault.scratch_unusable"
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", folder)
    monkeypatch.setenv("FACEFLOW_PATHS__SCRATCH", folder)
    assert ended("budget", "show") == ("database.unreachable", 1)
    up = given(["up"])
    assert up.exit_code == 1
    assert "fault.scratch_unusable" in up.stderr
    code, exit_code = ended("doctor", "--alive")
    assert (code, exit_code) == ("", 1)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(number: int, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert ended("budget", "show") == ("fault.no_locks", 1)
    up = given(["up"])
    assert up.exit_code == 1
    assert "fault.no_locks" in up.stderr


HOUR = timedelta(hours=1)


def test_a_campaign_whose_driver_died_before_the_clock_was_set_back_is_taken_over(settings: Settings) -> None:
    now, span = datetime.now(UTC), timedelta(seconds=30)
    with Database.open(settings) as database:
        remember_campaign(database, "film", "list.csv", [], now)
        assert take_wheel(database, "film", "one", now, now + span)
        assert not take_wheel(database, "film", "two", now, now + span)
        skewed = now - timedelta(minutes=4)
        assert not take_wheel(database, "film", "two", skewed, skewed + span)  # a machine whose clock is behind
        assert take_wheel(database, "film", "two", now - HOUR, now - HOUR + span)


def test_rules_that_came_after_the_clock_was_set_back_are_kept(tmp_path: Path) -> None:
    now, rules = datetime.now(UTC), KeptFile(tmp_path, "rules")

    def kept(version: int, seen_at: datetime) -> Kept:
        live = LiveRules(version=version, hash="h", revision=str(version), since=seen_at)
        return Kept(state=RuleState(source="rules", live=live, confirmed_at=seen_at))

    rules.write(kept(2, now), now)
    rules.write(kept(1, now - timedelta(seconds=2)), now - timedelta(seconds=2))  # another process, which looked before
    assert rules.read() == kept(2, now)
    rules.write(kept(3, now - HOUR), now - HOUR)
    assert rules.read() == kept(3, now - HOUR)


def test_leases_and_waits_do_not_look_at_the_clock(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The time of day jumps an hour back between any two looks at it; waits end when they must all the same."""
    real, looks = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(looks))
    settings.paths.state.mkdir()
    monkeypatch.setenv("FACEFLOW_DATABASE__BUSY_TIMEOUT_S", "0.2")
    with open_lock(settings.paths.state / "faceflow.db.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ended("budget", "show") == ("database.busy", 1)
    place = JobPlace(settings, IDENTITY)
    place.create()
    (place.scratch / "work").touch()
    assert remove_stale_work(settings, 60) == 0  # what seems to come from the future is nobody's leftover
    files = ServerFiles(settings.paths.state)
    files.create()
    silent = itertools.count()
    with pytest.raises(ServerError) as caught:
        start = Start(files, 5.0, lambda: float(next(silent)))
        while True:
            start.see(look(files))
    assert caught.value.code == "server.start_timeout"


def ended(*arguments: str) -> tuple[str, int]:
    done = given([*arguments, "--json"])
    assert "Traceback" not in done.stdout + done.stderr
    return code_of(done), done.exit_code
