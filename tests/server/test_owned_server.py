"""The product's own Prefect server: started once, reused, ended when nobody uses it, whatever happened to its users."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Timer

import psutil
import pytest

from faceflow.infrastructure.machine.server.lease import claimed_port, end_if_unused, lease_server, running_server
from faceflow.infrastructure.machine.server.probe import answers
from faceflow.infrastructure.machine.server.record import ServerFiles, ServerRecord
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings

PATIENCE_S = 120.0  # a busy machine takes its time; what is waited for takes a second
HOLD_A_LEASE = """
import sys
from pathlib import Path
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from faceflow.infrastructure.machine.server.lease import lease_server
state = Path(sys.argv[1])
settings = Settings(
    paths=PathSettings(state=state, scratch=state / "scratch"), server=ServerSettings(port=int(sys.argv[2]), idle_s=1)
)
with lease_server(settings) as address:
    print(address.api_url, flush=True)
    sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.1)


def local_settings(state: Path, port: int = 14200, **server: float) -> Settings:
    return Settings(
        paths=PathSettings(state=state, scratch=state / "scratch"), server=ServerSettings(port=port, idle_s=1, **server)
    )


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def holders(tmp_path: Path, environment: None) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD_A_LEASE, str(tmp_path), "14210"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(holder)
        return holder

    yield start
    for holder in started:
        holder.kill()
        holder.communicate()


def first_line(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return holder.stdout.readline().strip()


def test_users_share_one_server_and_killed_users_and_a_killed_keeper_leave_nothing_behind(
    tmp_path: Path, holders: Callable[[], subprocess.Popen[str]]
) -> None:
    one, two = holders(), holders()
    api_url = first_line(one)
    assert api_url
    assert first_line(two) == api_url
    server, keeper = processes(tmp_path)
    assert answers(api_url)
    assert [sockets.laddr.ip for sockets in server.net_connections("tcp") if sockets.status == "LISTEN"] == [
        "127.0.0.1"
    ]

    one.kill()
    one.wait()
    assert not end_if_unused(local_settings(tmp_path)), "a server in use was ended"
    assert answers(api_url)

    os.kill(keeper.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running(), "the end of the server of a killed keeper")
    assert running_server(local_settings(tmp_path)) is None

    three = holders()
    assert answers(first_line(three))
    server, keeper = processes(tmp_path)
    for holder in (two, three):
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    wait_until(lambda: not server.is_running() and not keeper.is_running(), "the end of an unused server")
    assert ServerFiles(tmp_path).read() is None


def processes(state: Path) -> tuple[psutil.Process, psutil.Process]:
    """The server and its keeper."""
    record = ServerFiles(state).read()
    assert record is not None
    return psutil.Process(record.server_pid), psutil.Process(record.keeper_pid)


def test_a_named_server_is_used_and_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(ServerError) as caught, lease_server(local_settings(tmp_path)):
        pass
    assert caught.value.code == "server.unreachable"
    assert ServerFiles(tmp_path).read() is None


def test_a_named_server_is_waited_for_as_long_as_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

    with HTTPServer(("127.0.0.1", 0), Healthy, bind_and_activate=False) as server:
        server.server_bind()  # without listening it refuses connections
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        with pytest.raises(ServerError), lease_server(local_settings(tmp_path), patience_s=0.5):
            pass
        starts = Timer(1.0, lambda: (server.server_activate(), server.handle_request(), server.handle_request()))
        starts.start()
        with lease_server(local_settings(tmp_path), patience_s=60) as address:
            assert address.api_url == os.environ["PREFECT_API_URL"]
        starts.join()


def test_a_server_that_cannot_start_is_said_at_once(
    tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "prefect.db").mkdir()  # SQLite cannot open a folder
    with pytest.raises(ServerError) as caught, lease_server(local_settings(tmp_path, start_timeout_s=100)):
        pass
    assert caught.value.code == "server.start_failed"
    assert str(tmp_path) in caught.value.resolution
    assert ServerFiles(tmp_path).read() is None


def test_a_reused_pid_is_not_taken_for_the_keeper(tmp_path: Path) -> None:
    files = ServerFiles(tmp_path)
    files.create()
    record = ServerRecord(
        api_url="http://127.0.0.1:9/api",
        ui_url="",
        keeper_pid=os.getpid(),
        keeper_started_ticks=1,
        server_pid=1,
        prefect_version="",
    )
    files.write(record)
    assert files.read() is None


def test_a_port_that_another_server_is_about_to_take_is_not_taken() -> None:
    """Two users start at the same time: neither server listens yet."""
    first, claim = claimed_port(14230)
    with claim:
        second, other = claimed_port(first)
        with other:
            assert second != first
    again, claim = claimed_port(first)
    with claim:
        assert again == first
