"""The program without its start: processes forked from one that has imported everything.

Importing Prefect and the networks' libraries takes seconds of CPU, again for every command that a test gives. Most
tests ask what a command does and leaves behind, not how it is loaded. They get a real process all the same, with its
own environment, working folder and pipes, that can be killed: it is only forked where the imports are done.

    Process(arguments, environment) -> socket -> the nursery: fork() -> faceflow.gateway.cli.main.run()

A start that is about the interpreter, the libraries or the environment itself takes `tests.conftest.Program` cold.
"""

from __future__ import annotations

import array
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from faceflow.infrastructure.machine.server.server_keeper import die_with_parent

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 240.0
LOADED = ("faceflow.flows.swap_video", "faceflow.flows.render_campaign", "faceflow.flows.server.register")
"""Flows that commands load when they need them; the commands' own modules come with their package."""


@dataclass(frozen=True)
class Moment:
    """The `count`-th event of this name (and stage)."""

    event: str
    stage: str | None = None
    count: int = 1

    def __str__(self) -> str:
        return f"{self.event}:{self.stage or ''}:{self.count}"


class Process(subprocess.Popen[str]):
    """A command of the program in a forked process; it is used like any other `Popen`."""

    def __init__(
        self,
        arguments: list[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        each_line: bool = False,
        pause_at: Moment | None = None,
    ) -> None:
        """Starts it.

        Args:
            arguments: of the command.
            cwd: its working folder.
            environment: all of it, of which the program takes over what it always does.
            each_line: whether every argument is the JSON of a whole command; its exit code then follows its answer.
            pause_at: when it stops itself, as with SIGSTOP; however busy the machine is, it gets no further.
        """
        self._more = {"each_line": each_line, "pause_at": pause_at and asdict(pause_at)}
        pipe = subprocess.PIPE
        super().__init__(
            arguments, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=environment
        )

    def _execute_child(self, args: Any, *more: Any) -> None:
        """In the place of fork and exec: the nursery forks, with our ends of the pipes."""
        cwd, environment = more[4], more[5]
        theirs = [more[9], more[12], more[14]]  # of the pairs of descriptors: to read from, to write to, for errors
        self._nursery = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._nursery.connect(nursery())
        asked = json.dumps(
            {"arguments": args, "cwd": str(cwd), "environment": dict(environment), **self._more}
        ).encode()
        fds = array.array("i", theirs)
        self._nursery.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        self._nursery.sendall(asked)
        self._close_pipe_fds(*more[9:15])  # type: ignore[attr-defined]  # as Popen's own does at its end
        self._said = self._nursery.makefile("r")
        self.pid = int(self._said.readline())
        self._child_created = True

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self._ended(0)

    def _wait(self, timeout: float | None) -> int | None:
        if self._ended(timeout) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _ended(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._nursery], [], [], timeout_s)[0]:
            self.returncode = int(self._said.readline())
            self._said.close()
            self._nursery.close()
        return self.returncode


@cache
def nursery() -> str:
    """The address of the process that forks; it ends with this one."""
    folder = Path(tempfile.mkdtemp(prefix="faceflow-nursery-"))
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FACEFLOW_", "PREFECT_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(folder)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=die_with_parent(),
        env={**ours, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], START_TIMEOUT_S)[0], "the nursery does not start"
    assert process.stdout.readline() == "ready\n"
    return str(folder / "socket")


def _serve(folder: Path) -> None:
    from importlib import import_module
    from pkgutil import iter_modules

    from faceflow.gateway import cli
    from faceflow.infrastructure.machine.server.environment import point_prefect_at

    point_prefect_at(folder, None)
    commands = [module.name for module in iter_modules(cli.__path__, f"{cli.__name__}.")]
    for name in (*commands, *LOADED):
        import_module(name)
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"a process with threads cannot be forked safely: {threads}"
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    gc.collect()
    gc.freeze()  # what is not touched is shared with all that are forked
    os.write(1, b"ready\n")
    born: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        if listener.fileno() in ready:
            asking, _ = listener.accept()
            pid = _fork(asking, [woken, wake, listener.fileno(), *(one.fileno() for one in born.values())])
            born[pid] = asking
            _tell(asking, pid)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            asking = born.pop(pid)
            _tell(asking, os.waitstatus_to_exitcode(status))
            asking.close()


def _tell(asking: socket.socket, number: int) -> None:
    with suppress(OSError):  # it has gone and does not want to know any more
        asking.sendall(f"{number}\n".encode())


def _fork(asking: socket.socket, inherited: list[int]) -> int:
    """Forks a process that runs one command and never returns here; gives its process id."""
    fds = array.array("i")
    size, ancillary, _, _ = asking.recvmsg(4, socket.CMSG_SPACE(3 * fds.itemsize))
    fds.frombytes(ancillary[0][2])
    length, text = int.from_bytes(size, "big"), b""
    while len(text) < length:
        text += asking.recv(length - len(text))
    pid = os.fork()
    if pid:
        for end in fds:
            os.close(end)
        return pid
    die_with_parent()()  # also where it was stopped and nobody came back
    signal.set_wakeup_fd(-1)
    for caught in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(caught, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, end in enumerate(fds):
        os.dup2(end, number)
        os.set_inheritable(number, True)
    for end in (*fds, asking.fileno(), *inherited):
        if end > 2:
            os.close(end)
    _run(json.loads(text))
    os._exit(97)


def _run(asked: dict[str, Any]) -> None:
    import logging

    import prefect.context
    from prefect.logging import configuration

    from faceflow.gateway.cli.main import main, run
    from faceflow.infrastructure.machine.server import environment
    from faceflow.infrastructure.machine.server.inherited import inherited
    from faceflow.infrastructure.machine.server.prefect_files import import_prefect
    from faceflow.infrastructure.settings import current_settings

    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(inherited(asked["environment"]))
    time.tzset()
    current_settings.cache_clear()
    sys.argv = ["faceflow", *asked["arguments"]]
    imported = import_prefect

    def read_anew(home: Path) -> None:
        """Prefect's settings were read where it was loaded; here they are those of this environment."""
        imported(home)
        prefect.context.refresh_global_settings_context()
        configuration.PROCESS_LOGGING_CONFIG.clear()
        for logger in (logging.getLogger(), *map(logging.getLogger, ("prefect", "prefect.extra"))):
            logger.handlers.clear()
        configuration.setup_logging()

    vars(environment)["import_prefect"] = read_anew
    if asked["pause_at"]:
        _pause_at(Moment(**asked["pause_at"]))
    exit_code: Any = 1
    try:
        if asked["each_line"]:
            exit_code = 0
            for line in asked["arguments"]:
                print(main(json.loads(line)))
        else:
            run()
    except SystemExit as end:
        exit_code = end.code
    except BaseException:  # noqa: BLE001 - said as the interpreter says it
        import traceback

        traceback.print_exc()
    _end(exit_code if isinstance(exit_code, int) else 0 if exit_code is None else 1)


def _pause_at(moment: Moment) -> None:
    """Stops this process when it has written the event."""
    import structlog

    write, hits = structlog.WriteLogger.msg, 0

    def watched(self: structlog.WriteLogger, message: str) -> None:
        nonlocal hits
        write(self, message)
        said = json.loads(message) if message.startswith("{") else {}
        if said.get("event") == moment.event and moment.stage in (None, said.get("stage")):
            hits += 1
            if hits == moment.count:
                os.kill(os.getpid(), signal.SIGSTOP)

    for name in ("msg", "debug", "info", "warning", "error", "critical"):
        setattr(structlog.WriteLogger, name, watched)


def _end(exit_code: int) -> None:
    """The end of the interpreter: threads are waited for, what was registered for the end runs."""
    import atexit
    import threading

    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
