"""Observers of model downloads. Called from worker threads."""

from __future__ import annotations

from typing import Protocol

from faceflow.log import events

_STEP = 0.1
"""The event log hears of every tenth of a file."""


class PullWatcher(Protocol):
    """Is told about files by their names."""

    def moved(self, name: str, done_bytes: int, size_bytes: int | None) -> None:
        """So much of the file is here; less than before where it had to begin anew."""
        ...

    def waiting(self, name: str) -> None:
        """Another process is fetching the file."""
        ...

    def finished(self, name: str) -> None:
        """The file is here and verified."""
        ...


class EventWatcher:
    """Writes to the event log."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def moved(self, name: str, done_bytes: int, size_bytes: int | None) -> None:
        """See `PullWatcher`. Says so at every tenth."""
        fraction = done_bytes / size_bytes if size_bytes else 0.0
        said = self._said.get(name)
        if said is None or fraction >= said + _STEP or fraction < said:
            self._said[name] = fraction
            events().info("model.moved", file=name, done_bytes=done_bytes, size_bytes=size_bytes)

    def waiting(self, name: str) -> None:
        """See `PullWatcher`. Says so once."""
        if self._said.get(name) != -1.0:
            self._said[name] = -1.0
            events().info("model.waiting", file=name)

    def finished(self, name: str) -> None:
        """See `PullWatcher`."""
        events().info("model.finished", file=name)
