"""SIGTERM that arrives where asyncio keeps exceptions to itself ends the run all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import _prefect_sigterm_handler

from flows.termination import sigterm_is_heard

PATIENCE_S = 10.0
"""A run that hears nothing ends by itself after so long."""


@pytest.fixture(autouse=True)
def as_in_a_run() -> Iterator[None]:
    """SIGTERM becomes an exception, as while Prefect runs a flow."""
    before = signal.signal(signal.SIGTERM, _prefect_sigterm_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(terminate)
    await asyncio.sleep(PATIENCE_S)


async def in_a_transport() -> None:
    class Reader(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            terminate()

    ours, theirs = socket.socketpair()
    with theirs:
        await asyncio.get_running_loop().create_connection(Reader, sock=ours)
        theirs.send(b"anything")
        await asyncio.sleep(PATIENCE_S)


@pytest.mark.parametrize("moment", [in_a_callback, in_a_transport])
def test_a_signal_that_the_loop_swallowed_comes_again(moment) -> None:
    async def run() -> None:
        with sigterm_is_heard():
            await moment()

    with pytest.raises(TerminationSignal):
        asyncio.run(run())


def test_without_that_the_run_would_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.runs.test_termination.PATIENCE_S", 0.2)

    async def run() -> str:
        await in_a_callback()
        return "went on"

    assert asyncio.run(run()) == "went on"


async def test_other_failures_are_told_as_before() -> None:
    told = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    error = ValueError("not a signal")
    with sigterm_is_heard():
        loop.call_exception_handler({"message": "something failed", "exception": error})
    assert told == [error]
    loop.set_exception_handler(None)
