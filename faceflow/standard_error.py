"""Standard error of a program of ours: what libraries write there is read first, so that nothing odd gets to people.

Libraries write to standard error too, some of them from C. A program of ours therefore reads its own standard error
(`guarded_stderr`): noise is left out, and where the event log is JSON (`faceflow.log`), a line that is none goes to the
log as text, so that a log collector meets JSON only. This stands apart from the log because a program guards its
standard error from its first line on, and the log's libraries take longer to load than most answers.

    libraries, children -> descriptor 2 -> guarded_stderr -> as it is, or as an event -> standard error
    event log, error_stream() -------------------------------------------------------> standard error
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from faceflow.streams import remark_stream

_NOISE = ("INFO: Created TensorFlow Lite XNNPACK delegate",)
"""Beginnings of lines that tell nobody anything and cannot be switched off where they come from."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_JOIN_S = 2.0


@dataclass
class _Speech:
    """How this process speaks."""

    as_event: Callable[[str], None] | None = None
    stream: TextIO | None = None


_speech = _Speech()


def speak_json(as_event: Callable[[str], None] | None) -> None:
    """Says what makes an event of other text where this process writes JSON lines; None where it writes for people."""
    _speech.as_event = as_event


def speaks_json() -> bool:
    """Whether this process writes JSON lines, so that nothing else may go to standard error."""
    return _speech.as_event is not None


def error_stream() -> TextIO:
    """Standard error itself, whether it is guarded or not."""
    return _speech.stream or sys.stderr


@contextmanager
def guarded_stderr() -> Iterator[None]:
    """Reads what this process and its children write to standard error while the block runs, and passes it on.

    Noise is left out; with JSON lines, other text becomes events. The event log and `error_stream` go past it.
    """
    kept = os.dup(2)
    reading, writing = os.pipe()
    sys.stderr.flush()
    os.dup2(writing, 2)
    os.close(writing)
    with remark_stream(kept) as stream:
        _speech.stream = stream
        reader = threading.Thread(target=_pass_on, args=(reading, stream), name="stderr", daemon=True)
        reader.start()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)  # closes the pipe's end, so that the reader ends
            reader.join(_JOIN_S)
            _speech.stream = None


def _pass_on(reading: int, stream: TextIO) -> None:
    with os.fdopen(reading, errors="replace") as lines:
        for line in lines:
            text = _COLOURS.sub("", line).strip()
            if text.startswith(_NOISE):
                continue
            as_event = _speech.as_event
            if as_event is None or _is_object(text):
                stream.write(line)
            elif text:
                as_event(text)


def _is_object(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
