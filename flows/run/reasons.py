"""From any end of a run to the one error that the user sees."""

from __future__ import annotations

import asyncio

import httpx
from prefect.exceptions import PrefectException, TerminationSignal

from faceflow.errors import CancelledError, FaceflowError, FaultError, ResourceError, StoreError, StoreSetupError
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.log import events
from faceflow.machine_faults import fault_of_machine

RESUMABLE = (CancelledError, ResourceError, StoreError, StoreSetupError, ServerError)
"""After these the finished pieces stay, so that the same command goes on from there."""


def reason_of(error: BaseException) -> FaceflowError:
    """The error that ended the run: threads that were only told to stop are not the reason.

    Raises:
        TerminationSignal: SIGTERM came in the middle of something, which then failed in some other way.
        asyncio.CancelledError: the run itself is being ended. SIGTERM that arrives while the event loop waits ends the
            loop, which cancels the run; what its threads say then must not make a failed run of a crashed one.
    """
    signal = signal_behind(error)
    if signal is not None:
        raise signal
    leaves = _leaves(error)
    reasons = [leaf for leaf in leaves if not isinstance(leaf, CancelledError)]
    # Only where nothing else has failed: in Python 3.11 a group that fails leaves its task marked as being cancelled.
    if not reasons and _is_being_cancelled():
        raise asyncio.CancelledError from error
    reason = (reasons or leaves)[0]
    if isinstance(reason, FaceflowError):
        return reason
    fault = fault_of_machine(reason) or fault_of_server(reason)
    if fault is not None:
        events().debug("job.broken_off", exc_info=reason)
        return fault
    events().error("job.unexpected", exc_info=reason)
    return FaultError(
        "fault.unexpected",
        f"Unexpected internal error: {type(reason).__name__}: {reason}",
        "Please report it with the log; FACEFLOW_LOG__FORMAT=json shows where it happened.",
    )


def fault_of_server(error: BaseException) -> FaceflowError | None:
    """The error for a Prefect server that did not answer as it must, or None where `error` is something else."""
    if not isinstance(error, httpx.HTTPError | PrefectException | ConnectionError):
        return None
    return ServerError(
        "server.lost",
        f"The Prefect server did not respond during the run: {type(error).__name__}: {error}",
        "Check that the server is running (`faceflow doctor`), then run the same command again to continue from here.",
    )


def signal_behind(error: BaseException) -> TerminationSignal | None:
    """The SIGTERM that an error came of: what was handling it may have failed as well, and then stands in its place."""
    waiting, seen = _leaves(error), set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, TerminationSignal):
            return one
        if id(one) not in seen:
            seen.add(id(one))
            waiting += [leaf for behind in (one.__cause__, one.__context__) if behind for leaf in _leaves(behind)]
    return None


def was_stopped(error: BaseException) -> bool:
    """Whether Ctrl-C or SIGTERM (as Prefect passes it on) ended the run, however deep in a group it arrived."""
    return any(isinstance(leaf, KeyboardInterrupt | TerminationSignal) for leaf in _leaves(error))


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop
        return False
    return task is not None and task.cancelling() > 0


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
