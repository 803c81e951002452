"""The client of the keeper: find the server or start it, wait until it answers, hold a lease meanwhile."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpx

from faceflow.errors import ServerError
from faceflow.settings import Settings
from infrastructure.server.environment import python_path
from infrastructure.server.record import ServerFiles, ServerRecord

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where the server answers.

    Attributes:
        api_url: what Prefect calls `PREFECT_API_URL`.
        ui_url: what a browser opens.
        owned: whether faceflow started it.
        started: whether this very lease started it.
    """

    api_url: str
    ui_url: str
    owned: bool
    started: bool


def answers(api_url: str, timeout_s: float = 2.0) -> bool:
    """Whether a Prefect server answers its health check at `api_url`."""
    try:
        return httpx.get(f"{api_url}/health", timeout=timeout_s, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def running_server(settings: Settings) -> ServerRecord | None:
    """The server that a keeper holds right now, whether it answers yet or not."""
    return ServerFiles(settings.paths.state).read()


@contextmanager
def lease_server(
    settings: Settings, on_wait: Callable[[float], None] | None = None, *, patience_s: float = 0.0
) -> Iterator[ServerAddress]:
    """Gives the address of a server that answers and keeps it alive until the block ends.

    Args:
        settings: where the state lies, which port is wished for and how long a start may take.
        on_wait: called about five times a second with the seconds waited so far, while the server starts.
        patience_s: how long a server that `PREFECT_API_URL` names may take until it answers.

    Raises:
        ServerError: `server.unreachable` when `PREFECT_API_URL` names a server that does not answer;
            `server.start_failed` or `server.start_timeout` when ours does not come up.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        deadline = time.monotonic() + patience_s
        while not (answered := answers(named, timeout_s=10.0)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if not answered:
            raise ServerError(
                "server.unreachable",
                f"PREFECT_API_URL names {named}, and no Prefect server answers there.",
                "Start that server, correct the address (it ends with `/api`), or unset PREFECT_API_URL to use the "
                "local one.",
                api_url=named,
            )
        ServerFiles(settings.paths.state).create()  # Prefect keeps a profile beside it
        yield ServerAddress(named, named.removesuffix("/api"), owned=False, started=False)
        return
    files = ServerFiles(settings.paths.state)
    files.create()
    with files.lease_lock.open("ab") as lease:
        deadline = time.monotonic() + settings.server.start_timeout_s
        _take_shared(lease, deadline)
        yield _find_or_start(files, settings, deadline, on_wait)


def end_if_unused(settings: Settings, timeout_s: float = 30.0) -> bool:
    """Ends the local server at once, rather than after its idle time, when nobody holds a lease.

    Returns whether no local server runs any more.
    """
    files = ServerFiles(settings.paths.state)
    record = files.read()
    if record is None:
        return True
    with files.lease_lock.open("ab") as lease:
        if not _try_exclusive(lease):
            return False
        os.kill(record.keeper_pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while files.read() is not None and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return files.read() is None


@contextmanager
def only_up(settings: Settings) -> Iterator[None]:
    """Holds the place of the one `faceflow up` of this state folder; two would fight over its worker.

    Raises:
        ServerError: `server.already_up`.
    """
    files = ServerFiles(settings.paths.state)
    files.create()
    with files.up_lock.open("ab") as lock:
        if not _try_exclusive(lock):
            record = files.read()
            where = f" at {record.ui_url}" if record is not None else ""
            raise ServerError(
                "server.already_up",
                f"Another `faceflow up` is running{where}, with the same state folder {str(settings.paths.state)!r}.",
                "Use that one, or end it with Ctrl-C first.",
            )
        yield


def is_up(settings: Settings) -> bool:
    """Whether a `faceflow up` of this state folder is running."""
    try:
        with ServerFiles(settings.paths.state).up_lock.open("rb") as lock:
            return not _try_shared(lock)
    except OSError:
        return False


def _take_shared(lease: IO[bytes], deadline: float) -> None:
    # The keeper holds the lock alone while it ends its server, for seconds at most.
    while not _try_shared(lease):
        if time.monotonic() > deadline:
            raise ServerError(
                "server.start_timeout",
                "The previous local Prefect server did not end in time.",
                "Wait a moment and give the same command again; `faceflow doctor` shows the server's state.",
            )
        time.sleep(POLL_S)


def _find_or_start(
    files: ServerFiles, settings: Settings, deadline: float, on_wait: Callable[[float], None] | None
) -> ServerAddress:
    begun = time.monotonic()
    started = False
    with files.start_lock.open("ab") as start:
        while time.monotonic() < deadline:
            record = files.read()
            if record is not None and answers(record.api_url):
                return ServerAddress(record.api_url, record.ui_url, owned=True, started=started)
            if record is None and started:
                raise _start_failed(files, "ended while it was starting")
            if record is None and _try_exclusive(start):
                try:
                    if files.read() is None:
                        _start_keeper(files, settings, deadline)
                        started = True
                finally:
                    fcntl.flock(start, fcntl.LOCK_UN)
            if on_wait is not None:
                on_wait(time.monotonic() - begun)
            time.sleep(POLL_S)
    raise ServerError(
        "server.start_timeout",
        f"The local Prefect server did not answer within {settings.server.start_timeout_s:.0f} s.",
        f"Look at {files.log}, or allow more time with FACEFLOW_SERVER__START_TIMEOUT_S.",
        log=str(files.log),
    )


def _try_exclusive(lock: IO[bytes]) -> bool:
    return _try(lock, fcntl.LOCK_EX)


def _try_shared(lock: IO[bytes]) -> bool:
    return _try(lock, fcntl.LOCK_SH)


def _try(lock: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_keeper(files: ServerFiles, settings: Settings, deadline: float) -> None:
    port, claim = claimed_port(settings.server.port)
    command = [
        sys.executable,
        "-m",
        "infrastructure.server.keeper",
        str(settings.paths.state),
        str(port),
        str(settings.server.idle_s),
    ]
    with claim:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=files.directory,
            env={**os.environ, "PYTHONPATH": python_path()},
            pass_fds=[claim.fileno()],  # the keeper holds it as long as it lives
        )
    while time.monotonic() < deadline:
        record = files.read()
        if record is not None and record.keeper_pid == keeper.pid:
            return
        if keeper.poll() is not None:
            raise _start_failed(files, f"could not be started (its keeper ended with code {keeper.returncode})")
        time.sleep(0.02)


def _start_failed(files: ServerFiles, what: str) -> ServerError:
    return ServerError(
        "server.start_failed",
        f"The local Prefect server {what}.",
        f"Look at {files.log}, and check with `faceflow doctor`.",
        log=str(files.log),
    )


def claimed_port(wished: int) -> tuple[int, socket.socket]:
    """`wished` where it is free and nobody is about to use it, else another port of 127.0.0.1; and the claim to it.

    A server takes its port only seconds after it was started. Meanwhile another user would find the port free, start a
    server there in vain, and then take the first one for his own. So ports are claimed by a name (an abstract address
    of unix(7), the same for all users of the machine) that is free again when the last process that holds it has ended.
    """
    for port in (wished, *[0] * 20):
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                found = int(probe.getsockname()[1])
                claim.bind(f"\0faceflow-port-{found}")
            except OSError:
                claim.close()
                continue
        return found, claim
    raise ServerError(
        "server.start_failed", "No TCP port of 127.0.0.1 is free.", "Close programs that hold ports, then try again."
    )
