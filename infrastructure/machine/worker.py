"""The worker of the local process pool: a child that ends, with every job it runs, when its parent asks or dies.

Prefect's worker starts jobs in sessions of their own, where neither a signal to its process group nor its death
reaches them. So a small supervisor stands between: it adopts whatever its descendants leave behind (Linux
"child subreaper") and holds the reading end of a pipe. When the pipe closes, because the parent is done or is no
more, however it ended, the supervisor asks all of its descendants to end and then ends those that do not.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faceflow.infrastructure.machine.server.environment import worker_environment
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.machine.server.server_keeper import die_with_parent
from faceflow.log import configure_logging
from faceflow.own_files import open_log
from faceflow.settings import SwapSettings, read_settings
from faceflow.standard_error import guarded_stderr
from faceflow.zones import Zone

POLL_S = 0.2
ASK_TIMEOUT_S = 8.0
"""How long jobs and the worker have to end by themselves. Jobs stop at their next frame and are reported as crashed."""
END_TIMEOUT_S = 5.0
QUERY_S = 2
"""How often the worker asks for new jobs. Prefect's own 10 s is long for somebody who waits."""
_PR_SET_CHILD_SUBREAPER = 36


def worker_name(state: Path) -> str:
    """The name of the one worker of each pool and this state folder on this machine, the same every time."""
    return f"faceflow-{platform.node()}-{hashlib.sha256(str(state.absolute()).encode()).hexdigest()[:8]}"


@contextmanager
def local_worker(pool: str, zone: Zone, name: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a Prefect worker for `pool` while the block runs. What it and its jobs print goes to `log`.

    Its jobs know from their environment that they belong to this pool and stand in this zone: no deployment and no
    parameter says so.

    Gives the supervisor; it ends when the worker ends.
    """
    with open_log(log) as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "faceflow.infrastructure.machine.worker", pool, name],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the command in the foreground
            env={
                **worker_environment(os.environ),
                "PREFECT_WORKER_QUERY_SECONDS": str(QUERY_S),
                "FACEFLOW_POOL__NAME": pool,
                "FACEFLOW_POOL__ZONE": zone.value,
            },
        )
    assert supervisor.stdin is not None  # noqa: S101 - narrows Popen's type
    try:
        yield supervisor
    finally:
        supervisor.stdin.close()
        try:
            supervisor.wait(ASK_TIMEOUT_S + 2 * END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        with suppress(ProcessLookupError):  # nobody is left, unless the supervisor itself was killed
            os.killpg(supervisor.pid, signal.SIGKILL)


def require_running(supervisor: subprocess.Popen[bytes], log: Path) -> None:
    """Raises `server.worker_ended` where the worker has ended by itself."""
    if supervisor.poll() is not None:
        raise ServerError(
            "server.worker_ended",
            f"The local worker exited unexpectedly (exit code {supervisor.returncode}).",
            f"See {log}.",
            log=str(log),
        )


def supervise(pool: str, name: str) -> int:
    """Runs the worker until standard input closes or the worker ends. Returns the supervisor's exit code."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.close(0))
    start = ["worker", "start", "--pool", pool, "--type", "process", "--name", name]
    worker = subprocess.Popen(
        [sys.executable, "-m", "faceflow.infrastructure.machine.server.program", "prefect", *start],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what it and its jobs say goes through our guard into the log
        stderr=2,
        preexec_fn=die_with_parent(),
    )
    try:
        while not _input_closed(POLL_S):
            if _reap(worker.pid):
                return 1
        return 0
    finally:
        end_descendants()


def end_descendants() -> None:
    """Ends every process that descends from this one: asks first, and after `ASK_TIMEOUT_S` ends what is left."""
    asked: set[int] = set()
    for sent, timeout_s in ((signal.SIGTERM, ASK_TIMEOUT_S), (signal.SIGKILL, END_TIMEOUT_S)):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            _reap()
            living = descendants(os.getpid())
            if not living:
                return
            for pid in living:
                # Asked once: a second request makes Prefect's worker drop everything.
                if sent is signal.SIGKILL or pid not in asked:
                    asked.add(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, sent)
            time.sleep(POLL_S / 2)


def descendants(ancestor: int) -> list[int]:
    """Pids of the living processes that descend from `ancestor`, by /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _input_closed(timeout_s: float) -> bool:
    try:
        readable, _, _ = select.select([0], [], [], timeout_s)
        return bool(readable) and not os.read(0, 1)
    except OSError:  # closed by our own signal handler
        return True


def _reap(awaited: int | None = None) -> bool:
    """Takes leave of ended children, adopted ones too. Returns whether `awaited` was among them."""
    seen = False
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            seen = seen or pid == awaited
    return seen


if __name__ == "__main__":
    with guarded_stderr():
        configure_logging(read_settings(SwapSettings).log)
        exit_code = supervise(sys.argv[1], sys.argv[2])
    sys.exit(exit_code)
