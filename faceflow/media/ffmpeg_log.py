"""Listens to FFmpeg's log where it is the only place that tells something, and keeps it quiet otherwise.

PyAV's log level belongs to the process, so a caller that raises it holds a lock meanwhile and puts it back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

_level_lock = threading.Lock()

ERROR = int(av.logging.ERROR)
INFO = int(av.logging.INFO)


@contextmanager
def heard_log(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """Gives a list that takes what FFmpeg says in this thread inside the block: (level, part of FFmpeg, message)."""
    with _level_lock:
        before = av.logging.get_level()
        av.logging.set_level(level)
        try:
            with av.logging.Capture(local=True) as lines:
                yield lines
        finally:
            av.logging.set_level(before)
