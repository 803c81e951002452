"""The client of the keeper: find the server or start it, wait until it answers, hold a lease meanwhile."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from faceflow.infrastructure.machine.server.inherited import API_URL, named_server, server_ground
from faceflow.infrastructure.machine.server.probe import Answer, Probed, answers, answers_named
from faceflow.infrastructure.machine.server.record import ServerFiles, ServerRecord
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.machine.server.server_settings import SettingsWithServer
from faceflow.infrastructure.machine.server.starting import Sight, Start, last_words, look
from faceflow.own_files import open_existing, open_lock

POLL_S = 0.2
ANSWER_S = 10.0
"""How long a server that the user names may take for one answer."""

OnWait = Callable[[float, str], None]
"""Told the seconds waited so far, and what the server is at."""


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


def running_server(settings: SettingsWithServer) -> ServerRecord | None:
    """The server that a keeper holds right now, whether it answers yet or not."""
    return ServerFiles(settings.paths.state).read()


@contextmanager
def lease_server(
    settings: SettingsWithServer, on_wait: OnWait | None = None, *, patience_s: float = 0.0
) -> Iterator[ServerAddress]:
    """Gives the address of a server that answers and keeps it alive until the block ends.

    Args:
        settings: where the state lies, which port is wished for and how long a start may be silent.
        on_wait: called about five times a second with the seconds waited so far and what the server is at, while it
            starts.
        patience_s: how long a server that `PREFECT_API_URL` names may take until it answers.

    Raises:
        ServerError: `server.unreachable`, `server.not_prefect`, `server.refused` or `server.address_invalid` when no
            Prefect server answers us where `PREFECT_API_URL` says; `server.start_failed` or `server.start_timeout` when
            ours does not come up.
    """
    named = named_server(os.environ)
    if named is not None:
        _require_named(named, patience_s)
        ServerFiles(settings.paths.state).create()  # Prefect's own folder is made beside it
        yield ServerAddress(named, named.rstrip("/").removesuffix("/api"), owned=False, started=False)
        return
    files = ServerFiles(settings.paths.state)
    files.create()
    with open_lock(files.lease_lock) as lease:
        _take_shared(lease, settings.server.start_timeout_s)
        address = find_or_start(files, settings, on_wait)
        try:
            yield address
        finally:
            # What points Prefect at it goes with it: a name of the user's would look the same.
            if os.environ.get(API_URL) == address.api_url:
                del os.environ[API_URL]


def _require_named(named: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        found = answers_named(named, ANSWER_S)
        if found.answer is Answer.PREFECT:
            return
        if time.monotonic() >= deadline or found.answer is Answer.UNUSABLE:
            raise unanswered(named, found)
        time.sleep(POLL_S)


def unanswered(named: str, found: Probed) -> ServerError:
    """The error for an address in `PREFECT_API_URL` at which no Prefect server can be used, with a way out."""
    address = shown(named)
    if found.answer is Answer.UNUSABLE:
        return ServerError(
            "server.address_invalid",
            f"PREFECT_API_URL names {address}, which cannot be reached: {found.words}.",
            "Correct it (an address looks like http://HOST:4200/api), or unset PREFECT_API_URL to use the local "
            "server.",
            api_url=address,
        )
    if found.answer is Answer.REFUSED:
        return ServerError(
            "server.refused",
            f"PREFECT_API_URL names {address}, which refused the login: {found.words}.",
            "Set PREFECT_API_AUTH_STRING or PREFECT_API_KEY as that server requires, or unset PREFECT_API_URL to "
            "use the local one.",
            api_url=address,
        )
    if found.answer is Answer.OTHER:
        return ServerError(
            "server.not_prefect",
            f"PREFECT_API_URL names {address}, which is not a Prefect server: {found.words}.",
            "Correct the address (it ends with `/api`), or unset PREFECT_API_URL to use the local server.",
            api_url=address,
        )
    return ServerError(
        "server.unreachable",
        f"PREFECT_API_URL names {address}, but no Prefect server responds there: {found.words}.",
        "Start that server, correct the address (it ends with `/api`), or unset PREFECT_API_URL to use the local one.",
        api_url=address,
    )


def shown(address: str) -> str:
    """An address without the password that may be in it."""
    return re.sub(r"//[^/@]*@", "//***@", address)


def end_if_unused(settings: SettingsWithServer, timeout_s: float = 30.0) -> bool:
    """Ends the local server at once, rather than after its idle time, when nobody holds a lease.

    Returns whether no local server runs any more.
    """
    files = ServerFiles(settings.paths.state)
    record = files.read()
    if record is None:
        return True
    with open_lock(files.lease_lock) as lease:
        if not _try_exclusive(lease):
            return False
        os.kill(record.keeper_pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while files.read() is not None and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return files.read() is None


@contextmanager
def only_up(settings: SettingsWithServer) -> Iterator[None]:
    """Holds the place of the one `faceflow up` of this state folder; two would fight over its worker.

    Raises:
        ServerError: `server.already_up`.
    """
    files = ServerFiles(settings.paths.state)
    files.create()
    with open_lock(files.up_lock) as lock:
        if not _try_exclusive(lock):
            record = files.read()
            where = f" at {record.ui_url}" if record is not None else ""
            raise ServerError(
                "server.already_up",
                f"Another `faceflow up` is running{where} with the same state folder {str(settings.paths.state)!r}.",
                "Use that one, or stop it with Ctrl-C first.",
            )
        yield


def is_up(settings: SettingsWithServer) -> bool:
    """Whether a `faceflow up` of this state folder is running."""
    try:
        with open_existing(ServerFiles(settings.paths.state).up_lock) as lock:
            return not _try_shared(lock)
    except OSError:
        return False


def _take_shared(lease: IO[bytes], timeout_s: float) -> None:
    # The keeper holds the lock alone while it ends its server, for seconds at most.
    deadline = time.monotonic() + timeout_s
    while not _try_shared(lease):
        if time.monotonic() > deadline:
            raise ServerError(
                "server.start_timeout",
                "The previous local Prefect server did not stop in time.",
                "Wait a moment and run the same command again; `faceflow doctor` shows the server's state.",
            )
        time.sleep(POLL_S)


def find_or_start(
    files: ServerFiles,
    settings: SettingsWithServer,
    on_wait: OnWait | None = None,
    *,
    start_keeper: Callable[[ServerFiles, SettingsWithServer], subprocess.Popen[bytes]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    look: Callable[[ServerFiles], Sight] = look,
) -> ServerAddress:
    """The server of the state folder once it answers; started where there is none.

    Args:
        files: of the state folder, which exists.
        settings: which port is wished for, how long a start may be silent.
        on_wait: see `lease_server`.
        start_keeper: starts the keeper.
        clock: gives seconds.
        pause: waits.
        look: sees how far the server has come.

    Raises:
        ServerError: see `lease_server`.
    """
    start, keeper = Start(files, settings.server.start_timeout_s, clock), None
    with open_lock(files.start_lock) as start_lock:
        while True:
            record = files.read()
            if record is not None and answers(record.api_url):
                return ServerAddress(record.api_url, record.ui_url, owned=True, started=keeper is not None)
            if record is None and keeper is not None and keeper.poll() is not None:
                raise _start_failed(files, f"stopped while starting (its keeper exited with code {keeper.returncode})")
            if record is None and keeper is None and _try_exclusive(start_lock):
                try:
                    if files.read() is None:
                        keeper = (start_keeper or _start_keeper)(files, settings)
                        _await_record(files, keeper, pause)
                finally:
                    fcntl.flock(start_lock, fcntl.LOCK_UN)
            sight = look(files)
            start.see(sight)
            if on_wait is not None:
                on_wait(start.waited_s, sight.words)
            pause(POLL_S)


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


def _start_keeper(files: ServerFiles, settings: SettingsWithServer) -> subprocess.Popen[bytes]:
    port, claim = claimed_port(settings.server.port)
    state = settings.paths.state.absolute()
    command = [
        sys.executable,
        "-m",
        "faceflow.infrastructure.machine.server.server_keeper",
        str(state),
        str(port),
        str(settings.server.idle_s),
    ]
    with claim:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=files.directory,
            env=server_ground(os.environ, state / "prefect"),
            pass_fds=[claim.fileno()],  # the keeper holds it as long as it lives
        )


def _await_record(files: ServerFiles, keeper: subprocess.Popen[bytes], pause: Callable[[float], None]) -> None:
    """Until the keeper says which process is the server; nobody else may start one meanwhile."""
    while keeper.poll() is None:
        record = files.read()
        if record is not None and record.keeper_pid == keeper.pid:
            return
        pause(0.02)


def _start_failed(files: ServerFiles, what: str) -> ServerError:
    return ServerError(
        "server.start_failed",
        f"The local Prefect server {what}. Last lines of its log: {last_words(files.log) or 'none'}",
        f"See {files.log}, and run `faceflow doctor`.",
        log=str(files.log),
    )


def claimed_port(wished: int) -> tuple[int, socket.socket]:
    """`wished` where it is free and nobody is about to use it, else another port of 127.0.0.1; and the claim to it.

    A server takes its port only seconds after it was started. Meanwhile another user would find the port free, start a
    server there in vain, and then take the first one for its own. So ports are claimed by a name (an abstract address
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
        "server.start_failed", "No TCP port of 127.0.0.1 is free.", "Close programs that occupy ports, then try again."
    )
