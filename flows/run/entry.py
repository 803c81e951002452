"""How every run begins and ends, said once for all flows.

It begins with this process's settings, and with logs of its own where a worker runs it (the command line has set up its
own by then). However it fails, the failure becomes the one error that a user sees: with a code and a way out, as an
artifact of the run, and as the run's exception.

    async with entered() as settings:
        ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from faceflow.flows.run.artifacts import show_failure
from faceflow.flows.run.reasons import reason_of
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.log import configure_logging


@asynccontextmanager
async def entered() -> AsyncIterator[Settings]:
    """Gives the settings of the process while the block, the work of a flow, runs.

    Raises:
        FaceflowError: what ended the block, put into words where it was none.
    """
    settings = current_settings()
    if not structlog.is_configured():
        configure_logging(settings.log)
    try:
        yield settings
    except Exception as error:
        reason = reason_of(error)
        await show_failure(reason)
        raise reason from error
