"""How a start of the local server is followed: as long as something of it grows, it is waited for.

A first start takes 15 s on an idle machine and minutes on a busy one, so no clock can tell a slow start from one that
hangs. What can be seen does: the server's log and database grow, its process spends CPU time, and in the end it
listens. Once it listens it has only to answer. A start is given up when none of that has changed for `silence_s`, or
when the process has computed for `MOST_CPU_S` without coming to listen.

    look(files) -> Sight, five times a second -> Start.see(sight) -> what it is waited for, or `server.start_timeout`
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faceflow.infrastructure.machine.server.record import ServerFiles, cpu_seconds, listens
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.own_files import open_existing

MOST_CPU_S: Final = 900.0
"""CPU time in which every server has come to listen, seconds: some 15 are needed."""
LAST_WORDS: Final = 3
"""Lines of the log that are told when a start is given up."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen of a server that is starting.

    Attributes:
        process: whether its process is known already.
        log_bytes: size of its log.
        database_bytes: size of its database.
        cpu_s: CPU time that its process and the keeper have spent.
        listening: whether its port takes connections.
    """

    process: bool = False
    log_bytes: int = 0
    database_bytes: int = 0
    cpu_s: float = 0.0
    listening: bool = False

    @property
    def words(self) -> str:
        """What the server is at."""
        if self.listening:
            return "it is listening but has not answered yet"
        if self.database_bytes:
            return f"it is setting up its database, {self.database_bytes / 1e6:.1f} MB"
        if self.process:
            return f"it is loading its program, {self.cpu_s:.0f} s of CPU time so far"
        return "its process has not started yet"


def look(files: ServerFiles) -> Sight:
    """Looks at the server of a state folder, as far as it has come."""
    record = files.read()
    beside = [files.database.with_name(files.database.name + ending) for ending in ("", "-wal", "-journal")]
    log_bytes, database_bytes = _size(files.log), sum(map(_size, beside))
    if record is None:
        return Sight(log_bytes=log_bytes, database_bytes=database_bytes)
    cpu_s = cpu_seconds(record.keeper_pid) + cpu_seconds(record.server_pid)
    return Sight(True, log_bytes, database_bytes, cpu_s, listens(record.api_url))


class Start:
    """One start that is being waited for.

    Args:
        files: of the state folder.
        silence_s: how long nothing may change, seconds.
        clock: gives seconds.
    """

    def __init__(self, files: ServerFiles, silence_s: float, clock: Callable[[], float]) -> None:
        self._files = files
        self._silence_s = silence_s
        self._clock = clock
        self._begun = self._changed = clock()
        self._seen: Sight | None = None

    @property
    def waited_s(self) -> float:
        """Since the wait began, seconds."""
        return self._clock() - self._begun

    def see(self, sight: Sight) -> None:
        """Takes note of what is there now.

        Raises:
            ServerError: `server.start_timeout`: nothing has changed for too long.
        """
        now = self._clock()
        before, self._seen = self._seen, sight
        # A server that listens goes on computing and writing whether it answers or not.
        if sight != before and not (sight.listening and before is not None and before.listening):
            self._changed = now
        if now - self._changed >= self._silence_s:
            raise self._given_up(f"has been silent for {now - self._changed:.0f} s ({sight.words})")
        if sight.cpu_s > MOST_CPU_S and not sight.listening:
            raise self._given_up(f"has used {sight.cpu_s:.0f} s and does not listen yet")

    def _given_up(self, what: str) -> ServerError:
        return ServerError(
            "server.start_timeout",
            f"The local Prefect server {what}. Last lines of its log: {last_words(self._files.log) or 'none'}",
            f"See {self._files.log}, or raise FACEFLOW_SERVER__START_TIMEOUT_S to allow a longer silence.",
            log=str(self._files.log),
        )


def last_words(log: Path) -> str:
    """The last lines of a log, on one line; empty where nothing was said."""
    try:
        with open_existing(log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return " / ".join(said[-LAST_WORDS:])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
