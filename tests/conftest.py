"""What all tests share: one Prefect server for the whole suite, and the program run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling

from faceflow.infrastructure.books.book_settings import DatabaseSettings
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.machine.server.lease import end_if_unused, lease_server
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.postgres import Postgres, running_postgres
from tests.servers import until
from tests.warm import Moment, Process

ROOT = Path(__file__).parents[1]

# Rich takes any of these, whatever its value, for a terminal: what is tested is what a pipe gets.
for _name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)


FORKED_WITH = ("PREFECT_API_URL", "COLUMNS")
"""Variables beside settings that mean the same where everything is loaded already."""
TOGETHER = ("tests/dispatch", "tests/up")
"""Folders whose files share what takes long to set up; one process works through each, and begins with them."""


class FilesTogether(LoadScopeScheduling):  # type: ignore[misc] # the package has no types
    """Where several processes share the suite, each takes whole files, or a whole folder of `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """The suite's own, because the groups of pytest-xdist 3.8 (`--dist loadgroup`) mean nothing to pytest 9.2."""
    return FilesTogether(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the folders that take longest come first."""
    items.sort(key=lambda item: not item.path.relative_to(ROOT).as_posix().startswith(TOGETHER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line says which programs were missing and how to get them."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped]
    missing = Counter(reason for reason in reasons if "not installed" in reason)
    if missing:
        terminalreporter.write_line(f"Not run for want of a program: {missing.total()} tests. {'; '.join(missing)}.")


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        lines = self.stdout.splitlines()
        assert len(lines) == 1, f"standard output is not one object: {self.stdout!r}\n{self.stderr}"
        value = json.loads(lines[0])
        assert isinstance(value, dict)
        return value

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON log lines on standard error."""
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]


@dataclass(frozen=True)
class Program:
    """The `faceflow` program with a state folder (and so a server) of its own, and one scratch folder a test."""

    state: Path
    scratch: Path

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("FACEFLOW_", "PREFECT_"))}
        return {
            **ours,
            "FACEFLOW_PATHS__STATE": str(self.state),
            "FACEFLOW_PATHS__SCRATCH": str(self.scratch),
            "FACEFLOW_SERVER__PORT": "14220",
            "FACEFLOW_SERVER__IDLE_S": "1",
            "FACEFLOW_LOG__FORMAT": "json",
            "FACEFLOW_LOG__LEVEL": "debug",
            "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000000",
            "PYTHONPATH": str(ROOT),
        }

    def start(
        self, *arguments: str | Path, cwd: Path | None = None, pause_at: Moment | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Starts the program; the caller ends it. It stops itself at the moment `pause_at` (see `paused`).

        It is forked where its imports are done (`tests.warm`), unless the test changes more of the environment than
        settings. With a PYTHONPATH of the test's own, it starts where that is not put away: packages in it stand for
        missing ones.
        """
        settings_only = all(name.startswith("FACEFLOW_") or name in FORKED_WITH for name in environment)
        if settings_only and arguments[:1] != ("up",):
            words, where = list(map(str, arguments)), cwd or self.scratch.parent
            return Process(words, where, {**self.environment, **environment}, pause_at=pause_at)
        assert pause_at is None
        module = "faceflow.gateway.cli.main" if "PYTHONPATH" in environment else "faceflow.gateway.program"
        return self._start("-m", module, *arguments, cwd=cwd, **environment)

    def _start(self, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or self.scratch.parent,
            env={**self.environment, **environment},
        )

    def __call__(self, *arguments: str | Path, timeout_s: float = 240, **environment: str) -> Finished:
        """Runs the program to its end."""
        return self._finished(self.start(*arguments, **environment), timeout_s)

    def script(self, path: Path, *arguments: str | Path, timeout_s: float = 240) -> Finished:
        """Runs a Python script, which changes something and then runs the program, in the program's place."""
        return self._finished(self._start(path, *arguments), timeout_s)

    @staticmethod
    def _finished(process: subprocess.Popen[str], timeout_s: float) -> Finished:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return Finished(process.returncode, stdout, stderr)


def paused(process: subprocess.Popen[str], moment: Moment) -> list[dict[str, Any]]:
    """Reads the events of a program that pauses at the moment, until it has; it goes on with SIGCONT."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        if line.startswith("{"):
            seen.append(json.loads(line))
            hits = [one for one in seen if one["event"] == moment.event and moment.stage in (None, one.get("stage"))]
            if len(hits) == moment.count:
                until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, timeout_s=240)
                return seen
    raise AssertionError(f"the run ended before {moment}: {process.wait()}")


def answers(
    program: Program, commands: list[list[Path | str]], timeout_s: float = 200
) -> list[tuple[int, dict[str, Any]]]:
    """Exit code and answer of several commands, given to the program one after the other in one process."""
    lines = [json.dumps([str(word) for word in command] + ["--json"]) for command in commands]
    done = Program._finished(Process(lines, Path.cwd(), program.environment, each_line=True), timeout_s)
    assert done.exit_code == 0, done.stderr
    assert "Traceback" not in done.stderr
    said = done.stdout.splitlines()
    return [(int(code), json.loads(answer)) for answer, code in zip(said[::2], said[1::2], strict=True)]


@contextmanager
def running_state(state: Path) -> Iterator[Path]:
    """The state folder while a server runs for it, which ends with the block and which nobody may use any more then."""
    named = os.environ.pop("PREFECT_API_URL", None)
    settings = Settings(paths=PathSettings(state=state, scratch=state), server=ServerSettings(port=14220, idle_s=1))
    try:
        with lease_server(settings):
            yield state
    finally:
        if named is not None:
            os.environ["PREFECT_API_URL"] = named
        # Prefect's client keeps the line on which it tells events; the next server of this process gets its own.
        if worker := sys.modules.get("prefect.events.worker"):
            worker.EventsWorker.drain_all(timeout=30)
        assert end_if_unused(settings), "some process still uses the suite's server"


@pytest.fixture(scope="session")
def shared_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose server runs for the whole session.

    `tests/dispatch` and `tests/up`, whose workers, schedules and automations would keep it busy, have their own.
    """
    with running_state(tmp_path_factory.mktemp("state")) as state:
        yield state


@dataclass(frozen=True)
class Up:
    """A running `faceflow up`."""

    process: subprocess.Popen[str]
    ui_url: str
    worker_log: Path


def start_up(program: Program, **environment: str) -> Up:
    """Starts `faceflow up` and waits until it says that it is there. The caller ends it."""
    process = program.start("up", **environment)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        event = json.loads(line)
        if event["event"] == "up.ready":
            return Up(process, event["ui_url"], Path(event["worker_log"]))
    raise AssertionError(f"faceflow up ended with {process.wait()}: {said}")


@pytest.fixture
def program(shared_state: Path, tmp_path: Path) -> Program:
    """The program on the suite's server, with a scratch folder of the test's own."""
    return Program(shared_state, tmp_path / "scratch")


@pytest.fixture
def offline_program(tmp_path: Path) -> Program:
    """The program where no server runs: for what must be said before one is needed."""
    return Program(tmp_path / "state", tmp_path / "scratch")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server for the whole session."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings that name an empty database, on SQLite and on PostgreSQL."""
    paths = PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch")
    if request.param == "sqlite":
        return Settings(paths=paths)
    return Settings(paths=paths, database=DatabaseSettings(url=request.getfixturevalue("postgres").new_database()))


@pytest.fixture
def database(database_settings: Settings) -> Iterator[Database]:
    """An open database with our tables, on SQLite and on PostgreSQL."""
    with Database.open(database_settings) as opened:
        yield opened
