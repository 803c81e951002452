"""The keeper: starts Prefect's server, watches who uses it, ends it when nobody does.

Run as a module with the arguments STATE PORT IDLE_S, detached from any terminal. It writes `server.json`
once the server process runs, then looks twice a second whether it can take the lease lock for itself. Being able to for
`IDLE_S` seconds on end means that no user is left; it then keeps the lock, so that nobody comes in meanwhile, ends the
server and removes the record. The kernel ends the server when the keeper dies in any other way.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import IO

from faceflow.infrastructure.machine.server.environment import server_environment
from faceflow.infrastructure.machine.server.record import ServerFiles, ServerRecord, own_started_ticks
from faceflow.own_files import open_lock, open_log

POLL_S = 0.5
STOP_TIMEOUT_S = 15.0
_PR_SET_PDEATHSIG = 1


def die_with_parent(sent: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` that has the kernel send `sent` to the child when its parent ends (Linux prctl)."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(sent), 0, 0, 0)

    return set_death_signal


def start_server(state: Path, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts Prefect's server as a child that cannot outlive this process."""
    command = [
        sys.executable,
        "-m",
        "faceflow.infrastructure.machine.server.process",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    return subprocess.Popen(
        command,
        env=server_environment(state, port, os.environ),
        cwd=ServerFiles(state).directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent(),
    )


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """Asks the server to end and, after `STOP_TIMEOUT_S`, ends it."""
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def wait_until_unused(
    lease: IO[bytes], server: subprocess.Popen[bytes], idle_s: float, stopping: Callable[[], bool]
) -> None:
    """Returns, holding the lease lock where it can, once the server is to end or has ended."""
    unused_since: float | None = None
    while not stopping() and server.poll() is None:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            unused_since = None
        else:
            now = time.monotonic()
            unused_since = now if unused_since is None else unused_since
            if now - unused_since >= idle_s:
                return
            fcntl.flock(lease, fcntl.LOCK_UN)
        time.sleep(POLL_S)


def keep(state: Path, port: int, idle_s: float) -> int:
    """Keeps one server from start to end. Returns the keeper's exit code: 1 when the server ended by itself."""
    files = ServerFiles(state)
    files.create()
    asked_to_stop = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command in the foreground
    with open_lock(files.lease_lock) as lease, open_log(files.log) as log:
        server = start_server(state, port, log)
        files.write(
            ServerRecord(
                api_url=f"http://127.0.0.1:{port}/api",
                ui_url=f"http://127.0.0.1:{port}",
                keeper_pid=os.getpid(),
                keeper_started_ticks=own_started_ticks(),
                server_pid=server.pid,
                prefect_version=version("prefect"),
            )
        )
        try:
            wait_until_unused(lease, server, idle_s, lambda: asked_to_stop)
            died = server.poll() is not None
        finally:
            stop_server(server)
            files.record.unlink(missing_ok=True)
    return 1 if died else 0


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
