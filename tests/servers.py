"""Real servers that tests start on free ports of 127.0.0.1 and end by their process id: etcd, Prometheus, Redis."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx
import pytest

from faceflow.infrastructure.machine.server.server_keeper import die_with_parent

START_TIMEOUT_S = 60.0
T = TypeVar("T")
# One for all: making one takes longer than most answers.
_client = httpx.Client(trust_env=False, verify=False)


def missing(what: str) -> NoReturn:
    """In CI everything is there; elsewhere the test is skipped and says why."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def needed(program: str, package: str) -> str:
    """The path of a program; without it the test is skipped."""
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not installed (Debian: apt-get install {package})")
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], T | None], timeout_s: float = 20.0, pause_s: float = 0.002) -> T:
    """What `condition` gives once it is true; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(pause_s)


def asked(method: str, url: str, body: object = None, timeout_s: float = 60.0) -> httpx.Response:
    """What a Prefect server answers.

    With a busy SQLite it says 503, which its own clients take as "again, please"; one that starts again refuses
    connections and breaks them off.
    """

    def answered() -> httpx.Response | None:
        try:
            answer = _client.request(method, url, json=body, timeout=timeout_s)
        except httpx.ConnectError:
            return None
        except (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError):
            # Asked only, or the same when it is said twice.
            if method in {"GET", "PATCH", "DELETE"} or url.endswith("/filter"):
                return None
            raise
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

    answer = until(answered, timeout_s=240.0, pause_s=0.2)
    assert isinstance(answer, httpx.Response)
    return answer


def answering(url: str) -> bool:
    """Whether a server gives any good answer at `url` (of HTTP, or `redis://HOST:PORT`)."""
    if url.startswith("redis://"):
        return _pongs(url)
    try:
        return httpx.get(url, timeout=2.0, trust_env=False, verify=False).is_success
    except httpx.HTTPError:
        return False


def _pongs(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname, address.port), timeout=2.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


class Server:
    """A program with a folder, that can be killed and started again on the same port."""

    def __init__(
        self,
        command: list[str],
        ready_url: str,
        log: Path,
        environment: dict[str, str] | None = None,
        timeout_s: float = START_TIMEOUT_S,
    ):
        self._command = command
        self.ready_url = ready_url
        self._log = log
        self._environment = environment
        self._timeout_s = timeout_s
        self._process: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                preexec_fn=die_with_parent(),
            )

        def ready():
            assert self._process.poll() is None, self._log.read_text()
            return answering(self.ready_url)

        until(ready, self._timeout_s, max(0.02, self._timeout_s / 1000))  # asking costs the server's CPU time

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """It keeps its connections and says nothing any more."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextmanager
def running(command: list[str], ready_url: str, folder: Path) -> Iterator[Server]:
    """The program while the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(command, ready_url, folder / "log")
    try:
        server.start()
        yield server
    finally:
        server.end()


@contextmanager
def running_etcd(folder: Path, *options: str) -> Iterator[tuple[Server, str]]:
    """A real etcd with one member; gives it and its `host:port`."""
    program = needed("etcd", "etcd-server")
    client, peer = free_port(), free_port()
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    command = [
        program, "--data-dir", str(folder / "data"), "--name", "one", "--logger", "zap", "--log-level", "error",
        "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
        "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
        "--initial-cluster", f"one={peer_url}", *options,
    ]  # fmt: skip
    with running(command, f"{client_url}/health", folder) as server:
        yield server, f"127.0.0.1:{client}"


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """A real Redis that keeps everything in memory; gives its address."""
    program = needed("redis-server", "redis-server")
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    with running(command, f"redis://127.0.0.1:{port}/0", folder):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def running_prometheus(folder: Path, scrape: dict[str, str], every: str = "200ms") -> Iterator[tuple[Server, str]]:
    """A real Prometheus that scrapes `host:port` by job name so often; gives it and its address."""
    program = needed("prometheus", "prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    lines = [f"global: {{scrape_interval: {every}, scrape_timeout: {every}}}", "scrape_configs:"]
    for job, target in scrape.items():
        lines.append(f"- {{job_name: {job}, static_configs: [{{targets: ['{target}']}}]}}")
    (folder / "prometheus.yml").write_text("\n".join(lines))
    command = [
        program, "--config.file", str(folder / "prometheus.yml"), "--storage.tsdb.path", str(folder / "data"),
        "--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/-/ready", folder) as server:
        yield server, url


class Forwarder:
    """Passes TCP connections on to a port, until it is cut: what a network that fails looks like."""

    def __init__(self, to_port: int):
        self.port = free_port()
        self._to_port = to_port
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        listener, self._listener = self._listener, None
        for one in [listener, *self._open]:
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to_port))
                self._open += [here, there]
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while chunk := one.recv(65536):
            other.sendall(chunk)
        other.shutdown(socket.SHUT_WR)


PYTHON = sys.executable
