"""How faceflow speaks: one event a line, for people or as JSON for ELK and Loki (row O1).

Every JSON line has `timestamp` (UTC, ISO 8601), `task_id` (the job id), `event`, `model`, `input_size` (`WxH`
or null) and `gpu_used` (device or null); events add their own fields. Lines go to standard error, so that
standard output stays the result. What else comes there from libraries becomes the event `output` where lines are JSON
(`faceflow.standard_error`).
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from faceflow.settings import LogSettings
from faceflow.standard_error import error_stream, speak_json

REQUIRED_FIELDS = ("task_id", "event", "model", "input_size", "gpu_used")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _ErrorStream:
    """Standard error as it is when something is written, for a logger that outlives the guard."""

    def write(self, text: str) -> int:
        return error_stream().write(text)

    def flush(self) -> None:
        error_stream().flush()


def _require_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in REQUIRED_FIELDS:
        event.setdefault(field, None)
    return event


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sets up the process's event log on `stream` (standard error where none is given)."""
    speak_json(_output_event if settings.format == "json" else None)
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


def _output_event(text: str) -> None:
    events().info("output", text=text)
