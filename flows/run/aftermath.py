"""What is still done once a result is where it was asked for. Nothing of it may take the result back.

A record is kept, a picture is drawn and shown, what was shared is cleared away, rivals are stopped. Each of these can
fail: the server is away, the disk is full, the sheet meets a file that it cannot read. The job has succeeded all the
same, so such a failure is logged and told as a note of the result. Only one thing is not a note: the end of the run
itself. A kill or a cancellation goes on as what it is, whatever it broke off.

    after = Aftermath()
    sheet = await after.attempt("The before/after picture could not be made", asyncio.to_thread(draw))
    record = record.model_copy(update={"notes": (*record.notes, *after.notes)})

The last step is Prefect's own, after the flow has returned: it tells the server that the run is over. So that a command
which runs a job in its own process has the result even where the server does not hear of it, the flow `gives` the
record as soon as it stands, and the command `receives` it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from faceflow.errors import CancelledError
from faceflow.flows.run.reasons import reason_of
from faceflow.infrastructure.machine.ledger import JobRecord
from faceflow.log import events

T = TypeVar("T")


@dataclass(slots=True)
class Aftermath:
    """What became of the steps after a result.

    Attributes:
        notes: one on every step that failed, for the user.
    """

    notes: list[str] = field(default_factory=list)

    async def attempt(self, otherwise: str, step: Awaitable[T]) -> T | None:
        """Waits for `step` and gives what it gives; where it fails, `otherwise` begins the note and None is given.

        Raises:
            TerminationSignal, asyncio.CancelledError, CancelledError: the run is being ended.
        """
        try:
            return await step
        except Exception as error:  # noqa: BLE001 - whatever it is, the result stands
            self.notes.append(note_on(otherwise, error))
            return None

    def noted(self, record: JobRecord) -> JobRecord:
        """The record with the notes so far."""
        return record.model_copy(update={"notes": (*record.notes, *self.notes)}) if self.notes else record


def note_on(otherwise: str, error: Exception) -> str:
    """The note on a step that failed after the result stood, which is logged too.

    Raises:
        TerminationSignal, asyncio.CancelledError, CancelledError: it failed because the run is being ended.
    """
    reason = reason_of(error)
    if isinstance(reason, CancelledError):
        raise reason from error
    events().warning("job.aftermath_failed", what=otherwise, **reason.to_dict())
    return f"{otherwise}: {reason.message} [{reason.code}]"


@dataclass(slots=True)
class Received:
    """The record of the job that a block ran, once its result stands."""

    record: JobRecord | None = None


_received: ContextVar[Received | None] = ContextVar("faceflow_received", default=None)


@contextmanager
def receives() -> Iterator[Received]:
    """A job that is run in this block, in this process, gives its record here."""
    received = Received()
    token = _received.set(received)
    try:
        yield received
    finally:
        _received.reset(token)


def gives(record: JobRecord) -> JobRecord:
    """Called by a job as soon as its result stands, and again with what was noted since."""
    received = _received.get()
    if received is not None:
        received.record = record
    return record
