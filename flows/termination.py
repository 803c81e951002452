"""SIGTERM must not get lost: a machine that is taken away is told so once.

Prefect passes the signal on by raising `TerminationSignal` wherever the main thread happens to be. Inside a callback or
a transport asyncio keeps it to itself (it tells its exception handler and goes on), and the run would work on until it
is killed. So whoever runs a job says here that it wants to hear of it: then the process sends itself the signal again,
a moment later, when the loop most likely waits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.exceptions import TerminationSignal

from faceflow.log import events

AGAIN_S = 0.05
"""How much later the signal comes again, seconds."""


@contextmanager
def sigterm_is_heard() -> Iterator[None]:
    """While the block lasts, a SIGTERM that the running event loop has swallowed comes again."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    timers: list[threading.Timer] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), TerminationSignal):
            events().warning("run.sigterm_again", swallowed_by=str(context.get("message", "")))
            timers.append(threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM)))
            timers[-1].start()
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        for timer in timers:
            timer.cancel()
