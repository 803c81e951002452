"""How long work says how far it is, and how to stop it.

A stage gets one `Progress` object. It calls `advance` with the frames just done and `check` between frames; the caller
of the stage (a Prefect task, the CLI, a test) decides what becomes of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from faceflow.errors import stopped


class Progress:
    """Counts frames of one stage and carries the wish to stop. Safe to share between threads.

    Args:
        on_advance: called with the number of frames just done, from the thread that did them.
        stop: set from outside to make the stage end with `CancelledError` at its next frame.
    """

    def __init__(self, on_advance: Callable[[int], None] | None = None, stop: threading.Event | None = None) -> None:
        self._on_advance = on_advance
        self._stop = stop or threading.Event()

    def advance(self, frames: int = 1) -> None:
        """Reports `frames` more frames as done, and stops here if the run was told to."""
        self.check()
        if self._on_advance is not None:
            self._on_advance(frames)

    def check(self) -> None:
        """Raises `CancelledError` after a request to stop the run."""
        if self._stop.is_set():
            raise stopped()


SILENT = Progress()
"""For callers that do not watch."""
