"""SIGTERM that arrives where exceptions are kept from the run ends the run all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import _prefect_sigterm_handler, capture_sigterm

from faceflow.flows.run.termination import sigterm_is_heard, sigterm_is_raised

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


async def in_a_task_in_the_background() -> None:
    async def told() -> None:
        terminate()

    nobody_asks_it = asyncio.create_task(told())
    await asyncio.sleep(PATIENCE_S)
    del nobody_asks_it


async def in_a_finaliser() -> None:
    class Finalised:
        def __del__(self) -> None:
            terminate()

    Finalised()
    await asyncio.sleep(PATIENCE_S)


async def twice() -> None:
    asyncio.get_running_loop().call_soon(terminate)
    await in_a_callback()


async def while_it_waits() -> None:
    timer = threading.Timer(0.1, terminate)
    timer.start()
    try:
        await asyncio.sleep(PATIENCE_S)
    finally:
        timer.join()


MOMENTS = [in_a_callback, in_a_transport, in_a_task_in_the_background, in_a_finaliser, twice, while_it_waits]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_that_others_swallowed_ends_the_run(moment) -> None:
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


def test_a_run_that_ends_by_itself_ends_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceflow.flows.run.termination.PATIENCE_S", 0.05)
    tidied = []

    async def part() -> None:
        terminate()

    async def run() -> None:
        with sigterm_is_heard():
            async with asyncio.TaskGroup() as group:
                group.create_task(part())
                group.create_task(tidying(tidied))

    with pytest.raises(TerminationSignal):
        asyncio.run(run())
    assert tidied == ["tidied"]


async def tidying(tidied: list[str]) -> None:
    """Takes longer to end than a run is waited for."""
    try:
        await asyncio.sleep(PATIENCE_S)
    finally:
        await asyncio.sleep(0.2)
        tidied.append("tidied")


def test_all_runs_of_a_process_hear_it() -> None:
    async def job() -> None:
        with sigterm_is_heard():
            await asyncio.sleep(PATIENCE_S)

    async def run() -> tuple[BaseException | None, BaseException | None]:
        asyncio.get_running_loop().call_later(0.1, terminate)
        return await asyncio.gather(job(), job(), return_exceptions=True)

    ends = asyncio.run(run())
    assert [type(end) for end in ends] == [TerminationSignal, TerminationSignal]


def test_who_listened_before_hears_it_too() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        before_fd = signal.set_wakeup_fd(theirs.fileno())
        try:

            async def run() -> None:
                with sigterm_is_heard():
                    await in_a_callback()

            with pytest.raises(TerminationSignal):
                asyncio.run(run())
            assert ours.recv(8) == bytes([signal.SIGTERM])
            assert signal.set_wakeup_fd(theirs.fileno()) == theirs.fileno()
        finally:
            signal.set_wakeup_fd(before_fd)


def test_what_failed_is_told_as_it_was() -> None:
    async def run() -> None:
        with sigterm_is_heard():
            raise ValueError("not a signal")

    with pytest.raises(ValueError, match="not a signal"):
        asyncio.run(run())


def test_a_run_outside_the_main_thread_goes_its_way() -> None:
    async def run() -> str:
        with sigterm_is_heard():
            return "done"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, run()).result() == "done"


def test_a_command_outlives_the_signal_that_ended_its_run() -> None:
    passed_on = []
    signal.signal(signal.SIGTERM, lambda number, _frame: passed_on.append(number))
    with pytest.raises(TerminationSignal), sigterm_is_raised(), capture_sigterm():
        terminate()
    assert not passed_on, "in its place whoever has no handler would be killed"
    terminate()
    assert passed_on == [signal.SIGTERM]
