"""A server that starts is waited for as long as something of it grows, and given up on silence, not on a clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faceflow.infrastructure.machine.server.lease import find_or_start
from faceflow.infrastructure.machine.server.record import ServerFiles
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.machine.server.server_keeper import die_with_parent
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.machine.server.starting import MOST_CPU_S, Sight, Start, last_words, look
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.servers import free_port

FAKE_KEEPER = """
import json, os, socket, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from faceflow.infrastructure.machine.server.record import ServerFiles, ServerRecord, own_started_ticks
files, port, lines, pause_s = ServerFiles(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
url = f"http://127.0.0.1:{port}"
files.write(ServerRecord(api_url=f"{url}/api", ui_url=url, keeper_pid=os.getpid(),
    keeper_started_ticks=own_started_ticks(), server_pid=os.getpid(), prefect_version="3"))
with files.log.open("a") as log:
    for line in range(lines):
        print(f"step {line} is done", file=log, flush=True)
        time.sleep(pause_s)
if not lines:
    print("the last words", file=files.log.open("a"), flush=True)
    time.sleep(600)
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")
HTTPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    found = ServerFiles(tmp_path)
    found.create()
    return found


@pytest.mark.parametrize(
    "grows",
    [
        lambda sight: replace(sight, log_bytes=sight.log_bytes + 1),
        lambda sight: replace(sight, database_bytes=sight.database_bytes + 4096),
        lambda sight: replace(sight, cpu_s=sight.cpu_s + 0.01),
    ],
    ids=["log", "database", "cpu time"],
)
def test_whatever_grows_is_waited_for_and_silence_ends_it(files: ServerFiles, grows: Callable[[Sight], Sight]) -> None:
    clock, sight = Clock(), Sight(process=True)
    start = Start(files, 10.0, clock)
    files.log.write_text("one\n\ntwo\n")
    for _ in range(100):
        clock.now += 9.9
        sight = grows(sight)
        start.see(sight)
    assert start.waited_s > 900
    clock.now += 9.9
    start.see(sight)
    clock.now += 0.2
    with pytest.raises(ServerError) as caught:
        start.see(sight)
    assert caught.value.code == "server.start_timeout"
    assert "one / two" in caught.value.message
    assert "FACEFLOW_SERVER__START_TIMEOUT_S" in caught.value.resolution


def test_a_server_that_listens_has_to_answer(files: ServerFiles) -> None:
    clock = Clock()
    start = Start(files, 10.0, clock)
    start.see(Sight(process=True, cpu_s=1.0))
    clock.now = 9.0
    start.see(Sight(process=True, cpu_s=1.0, listening=True))
    for second in range(9):  # it computes and writes as before, and does not answer
        clock.now += 1.0
        start.see(Sight(True, second, second, float(second), True))
    clock.now += 1.0
    with pytest.raises(ServerError, match="listens"):
        start.see(Sight(True, 99, 99, 99.0, True))


def test_a_server_that_computes_for_ever_is_given_up(files: ServerFiles) -> None:
    start = Start(files, 10.0, Clock())
    start.see(Sight(process=True, cpu_s=MOST_CPU_S))
    with pytest.raises(ServerError, match="has used"):
        start.see(Sight(process=True, cpu_s=MOST_CPU_S + 1))


def test_what_is_waited_for_is_told_in_words() -> None:
    at = [Sight(), Sight(process=True, cpu_s=3), Sight(True, 1, 2_000_000, 9), Sight(True, 1, 2_000_000, 9, True)]
    words = [sight.words for sight in at]
    assert len(set(words)) == 4
    assert "3 s" in words[1]
    assert "2.0 MB" in words[2]


def test_last_words_are_few_and_always_readable(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none") == ""
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\n\xff\n\nlast\n")
    assert last_words(log).endswith("/ \ufffd / last")
    assert len(last_words(log)) < 5000


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(lines: int, pause_s: float = 0.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", FAKE_KEEPER, tmp_path, free_port(), lines, pause_s, Path(__file__).parents[2]]
        started.append(subprocess.Popen([str(part) for part in command], preexec_fn=die_with_parent()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def local(tmp_path: Path, silence_s: float) -> Settings:
    return Settings(
        paths=PathSettings(state=tmp_path, scratch=tmp_path), server=ServerSettings(start_timeout_s=silence_s)
    )


def test_a_slow_server_that_goes_on_logging_is_waited_for(
    tmp_path: Path, files: ServerFiles, fake: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """Time passes by the lines of its log, a second each: 20 of them, where 5 s of silence end the wait."""
    told: list[str] = []

    def lines() -> float:
        return float(files.log.read_text().count("\n")) if files.log.exists() else 0.0

    address = find_or_start(
        files,
        local(tmp_path, 5.0),
        lambda _waited_s, at: told.append(at),
        start_keeper=lambda _files, _settings: fake(20, 0.02),
        clock=lines,
    )
    assert address.started
    assert lines() == 20.0
    assert told


def test_a_silent_server_is_given_up_with_its_last_words(
    tmp_path: Path, files: ServerFiles, fake: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """Time passes only once its last words are there: an hour with every look."""
    clock = Clock()

    def looked(files: ServerFiles) -> Sight:
        sight = look(files)
        clock.now += 3600.0 if "last words" in last_words(files.log) else 0.0
        return replace(sight, cpu_s=0.0)

    with pytest.raises(ServerError) as caught:
        find_or_start(
            files, local(tmp_path, 5.0), start_keeper=lambda _files, _settings: fake(0), clock=clock, look=looked
        )
    assert caught.value.code == "server.start_timeout"
    assert "the last words" in caught.value.message
    assert str(files.log) in caught.value.resolution


def test_a_keeper_that_ends_is_told_at_once(tmp_path: Path, files: ServerFiles) -> None:
    with pytest.raises(ServerError) as caught:
        find_or_start(
            files,
            local(tmp_path, 600.0),
            start_keeper=lambda _files, _settings: subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]),
        )
    assert caught.value.code == "server.start_failed"
    assert "code 3" in caught.value.message
