"""Containers as processes of this machine: command, environment and volumes as the template of a pool asks for them.

What the image would bring (Python, faceflow, `prefect` on the PATH) is this checkout; what is mounted are folders, so
paths below a mount point become paths below its folder. Everything else is as the worker sent it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from faceflow.infrastructure.machine.server.server_keeper import die_with_parent
from tests.conftest import ROOT

Event = dict[str, Any]


class Container:
    """One running container.

    Attributes:
        folder: its own files, among them `log` with all that it said.
        environment: what the runtime adds to that of the image.
        events: JSON log lines so far.
    """

    def __init__(
        self, folder: Path, command: list[str], environment: Mapping[str, str], mounts: Mapping[str, Path]
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.log = folder / "log"
        self.events: list[Event] = []
        self.traps: list[Trap] = []
        self.environment = dict(environment)
        self.mounts = dict(mounts)
        for place in self.mounts.values():
            place.mkdir(parents=True, exist_ok=True)
        image = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OF_THE_IMAGE)}
        programs = Path(sys.executable).parent
        image |= {"PATH": f"{programs}:{image.get('PATH', '')}", "PYTHONPATH": str(ROOT)}
        variables = {name: self._mounted(value) for name, value in environment.items()}
        self.process = subprocess.Popen(
            [str(programs / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=image | variables,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As a container runtime tells it: 128 and the signal's number where one ended it."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def finished(self, stage: str) -> list[Event]:
        """Events of pieces of a stage that are done."""
        return [one for one in list(self.events) if one["event"] == "stage.finished" and one.get("stage") == stage]

    def terminate(self) -> None:
        """What the runtime does first."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a trap may have stopped it

    def kill(self) -> None:
        """What the runtime does after the grace, the kernel without memory, and a machine whose power is cut."""
        self._signal(signal.SIGSTOP)  # so that no child is born meanwhile
        self._signal(signal.SIGKILL)
        self.process.wait(30)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        self.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        self.kill()
        self._reader.join(10)

    def wait_for_log(self) -> int:
        """All that it said is in `log`; for one that has ended. Gives the exit code."""
        self._reader.join(10)
        assert self.exit_code is not None
        return self.exit_code

    def _signal(self, number: int) -> None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            for one in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    one.send_signal(number)

    def _mounted(self, value: str) -> str:
        for point, place in self.mounts.items():
            if value == point or value.startswith(f"{point}/"):
                return f"{place}{value[len(point) :]}"
        return value

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("wb") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                event = _event_of(line)
                if event is not None:
                    for trap in self.traps:
                        if trap.sprung is None and trap.fits(self, event):
                            self.freeze()
                            trap.spring(self)
                    self.events.append(event)


class Trap:
    """Stops a container in the very moment in which it says something, so that a fault hits that moment."""

    def __init__(self, fits: Callable[[Container, Event], bool]) -> None:
        self.fits = fits
        self.sprung: Container | None = None
        self._happened = threading.Event()

    def spring(self, container: Container) -> None:
        self.sprung = container
        self._happened.set()

    def wait(self, timeout_s: float) -> Container:
        assert self._happened.wait(timeout_s), "nothing went into the trap"
        assert self.sprung is not None
        return self.sprung


def until_ended(container: Container, poll_s: float = 0.05) -> int:
    """Waits for the end and gives the exit code."""
    while container.exit_code is None:
        time.sleep(poll_s)
    return container.wait_for_log()


_NOT_OF_THE_IMAGE = ("FACEFLOW_", "PREFECT_", "AWS_", "KUBECONFIG", "KUBERNETES_", "VIRTUAL_ENV")


def _event_of(line: bytes) -> Event | None:
    start = line.find(b"{")
    if start < 0 or not line.rstrip().endswith(b"}"):
        return None
    with suppress(ValueError):
        found = json.loads(line[start:])
        if isinstance(found, dict) and "event" in found:
            return found
    return None
