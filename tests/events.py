"""What the event log is told while a test runs."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from faceflow.log import configure_logging
from faceflow.settings import LogSettings


@contextmanager
def captured_events() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every event of the level info or above, whatever earlier tests set up."""
    configure_logging(LogSettings(level="info"))
    with structlog.testing.capture_logs() as events:
        yield events
