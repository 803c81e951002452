"""How faceflow speaks: one event a line, for people or as JSON for ELK and Loki (row O1).

Every JSON line has `timestamp` (UTC, ISO 8601), `task_id` (the job id), `event`, `model`, `input_size` (`WxH`
or null) and `gpu_used` (device or null); events add their own fields. Lines go to standard error, so that
standard output stays the result.

Libraries write to standard error too, some of them from C. A program of ours therefore reads its own standard error
(`guarded_stderr`): with JSON lines, what is none becomes the event `output`, so that a log collector meets JSON only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, cast

import structlog

from faceflow.settings import LogSettings
from faceflow.streams import remark_stream

REQUIRED_FIELDS = ("task_id", "event", "model", "input_size", "gpu_used")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_NOISE = ("INFO: Created TensorFlow Lite XNNPACK delegate",)
"""Beginnings of lines that tell nobody anything and cannot be switched off where they come from."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_JOIN_S = 2.0


@dataclass
class _Speech:
    """How this process speaks."""

    json: bool = False
    stream: TextIO | None = None


_speech = _Speech()


class _ErrorStream:
    """Standard error as it is when something is written, for a logger that outlives the guard."""

    def write(self, text: str) -> int:
        return error_stream().write(text)

    def flush(self) -> None:
        error_stream().flush()


def speaks_json() -> bool:
    """Whether this process writes JSON lines, so that nothing else may go to standard error."""
    return _speech.json


def error_stream() -> TextIO:
    """Standard error itself, whether it is guarded or not."""
    return _speech.stream or sys.stderr


def _require_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in REQUIRED_FIELDS:
        event.setdefault(field, None)
    return event


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sets up the process's event log on `stream` (standard error where none is given)."""
    _speech.json = settings.format == "json"
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.format == "json":
        processors += [_require_fields, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        processors += [
            structlog.dev.ConsoleRenderer(
                colors=(stream or error_stream()).isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream or cast(TextIO, _ErrorStream())),
        cache_logger_on_first_use=False,
    )


def events() -> structlog.typing.FilteringBoundLogger:
    """The event log. Fields bound with `structlog.contextvars` (task_id, model, input_size, gpu_used) are added."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger())


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
            if not _speech.json or _is_object(text):
                stream.write(line)
            elif text:
                events().info("output", text=text)


def _is_object(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
