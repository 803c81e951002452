"""From whatever ended a run to the one error that the user is told."""

from __future__ import annotations

import asyncio
import errno

import httpx
import pytest
from prefect.exceptions import TerminationSignal

from faceflow.errors import MediaError, stopped
from faceflow.flows.run.reasons import RESUMABLE, reason_of, was_stopped

CORRUPT = MediaError("media.corrupt", "Broken.", "Copy it again.")


def test_a_faceflow_error_is_itself_however_deep() -> None:
    nested = ExceptionGroup("", [stopped(), ExceptionGroup("", [stopped(), CORRUPT])])
    assert reason_of(nested) is CORRUPT
    assert reason_of(ExceptionGroup("", [stopped()])).code == "fault.cancelled"


@pytest.mark.parametrize(
    ("error", "code", "resumable"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "part.mp4"), "fault.disk_full", True),
        (httpx.ConnectError("refused"), "server.lost", True),
        (MemoryError(), "fault.out_of_memory", True),
        (ZeroDivisionError("a bug"), "fault.unexpected", False),
    ],
)
def test_other_errors_get_a_code_and_a_resolution(error: Exception, code: str, resumable: bool) -> None:
    reason = reason_of(error)
    assert reason.code == code
    assert reason.resolution
    assert isinstance(reason, RESUMABLE) is resumable


async def test_a_run_that_is_being_ended_is_not_one_that_failed() -> None:
    at_work = asyncio.Event()

    async def job() -> None:
        try:
            at_work.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise stopped() from None  # what a thread says that was told to stop
        except Exception as error:
            raise reason_of(error) from error

    run = asyncio.create_task(job())
    await at_work.wait()
    run.cancel()  # as the end of the event loop does
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.cancelled()


async def test_a_run_of_which_a_part_failed_is_one_that_failed() -> None:
    async def part() -> None:
        await asyncio.sleep(0)  # the group waits for its parts by now
        raise CORRUPT

    async def job() -> None:
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(part())
        except Exception as error:
            raise reason_of(error) from error

    with pytest.raises(MediaError) as caught:
        await asyncio.create_task(job())
    assert caught.value is CORRUPT


def test_sigterm_is_seen_behind_what_failed_because_of_it() -> None:
    def failing() -> None:
        try:
            raise TerminationSignal(signal=15)
        finally:
            raise ValueError("Task run is not set")

    with pytest.raises(ValueError, match="not set") as failed:
        failing()
    with pytest.raises(TerminationSignal):
        reason_of(ExceptionGroup("", [CORRUPT, failed.value]))


def test_a_stop_is_seen_inside_groups() -> None:
    assert was_stopped(KeyboardInterrupt())
    assert was_stopped(BaseExceptionGroup("", [stopped(), TerminationSignal(signal=15)]))
    assert not was_stopped(ExceptionGroup("", [CORRUPT]))
