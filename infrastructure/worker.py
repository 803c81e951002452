"""The worker of the local process pool, as a child that cannot outlive its parent and takes its own children along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faceflow.errors import ServerError
from infrastructure.server.keeper import die_with_parent

STOP_TIMEOUT_S = 20.0


@contextmanager
def local_worker(pool: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a Prefect worker for `pool` while the block runs. What it prints goes to `log`.

    The worker leads a process group of its own; the jobs it starts belong to that group, so ending the group
    ends them all.
    """
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    try:
        yield worker
    finally:
        end_group(worker)


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """Ends a process group that we started: asks first, and after `STOP_TIMEOUT_S` ends what is left."""
    leader.terminate()
    with suppress(subprocess.TimeoutExpired):  # then it is ended with its group
        leader.wait(STOP_TIMEOUT_S)
    try:
        os.killpg(leader.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    leader.wait()


def require_running(worker: subprocess.Popen[bytes], log: Path) -> None:
    """Raises `server.worker_ended` where the worker has ended by itself."""
    if worker.poll() is not None:
        raise ServerError(
            "server.worker_ended",
            f"The local worker ended by itself (exit code {worker.returncode}).",
            f"Look at {log}.",
            log=str(log),
        )
