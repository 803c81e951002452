"""SIGTERM must not get lost: a machine that is taken away gets it once.

Prefect passes the signal on by raising `TerminationSignal` wherever the main thread happens to be. Where that is not
the run itself, nobody may hear of it: asyncio keeps what a callback or a transport raises to itself, a task in the
background (Prefect has some) keeps it until somebody asks, Python only prints what a finaliser raises. The run would
work on until it is killed. So the runner of a job registers here. The interpreter writes every signal to a descriptor
as well, whatever becomes of the exception; a run that goes on all the same, a moment later, is ended as if the
exception had met it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from prefect.exceptions import TerminationSignal

from faceflow.flows.run.reasons import signal_behind
from faceflow.log import events

PATIENCE_S = 0.25
"""How long a run has to begin to end by itself, seconds."""


@dataclass(eq=False, slots=True)
class _Listener:
    """One run that wants to hear of SIGTERM, and whether it had to be ended from here."""

    task: asyncio.Task[object]
    ended: bool = False


class _Switchboard:
    """Who listens in this process, and the descriptor that the interpreter writes signals to (main thread only)."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._earlier_fd = self._read_fd = self._write_fd = -1

    def connect(self, listener: _Listener) -> None:
        """Raises ValueError outside the main thread, where no signal arrives."""
        if not self._listeners:
            self._open(asyncio.get_running_loop())
        self._listeners.append(listener)

    def disconnect(self, listener: _Listener) -> None:
        self._listeners.remove(listener)
        if not self._listeners:
            signal.set_wakeup_fd(self._earlier_fd)
            self._close()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._earlier_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        except ValueError:
            self._close()
            raise
        self._loop = loop
        loop.add_reader(self._read_fd, self._hear)

    def _close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._read_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)
        self._loop, self._earlier_fd, self._read_fd, self._write_fd = None, -1, -1, -1

    def _hear(self) -> None:
        numbers = os.read(self._read_fd, 512)
        if signal.SIGTERM in numbers and self._loop is not None:
            self._loop.call_later(PATIENCE_S, self._end)
        if self._earlier_fd >= 0:
            with suppress(BlockingIOError):  # it is full, so its reader will wake up anyway
                os.write(self._earlier_fd, numbers)

    def _end(self) -> None:
        for listener in self._listeners:
            # One that is being cancelled has heard: the loop ended under it, or a part of it met the exception.
            if not listener.ended and listener.task.cancelling() == 0:
                events().warning("run.sigterm_unheard", patience_s=PATIENCE_S)
                listener.ended = True
                listener.task.cancel()


_switchboard = _Switchboard()


@contextmanager
def sigterm_is_heard() -> Iterator[None]:
    """SIGTERM ends the block, also where its exception got lost elsewhere.

    Raises:
        TerminationSignal: SIGTERM arrived, and the block did not end by itself, or one of its parts met it.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("only a task can be ended")
    listener = _Listener(task)
    try:
        _switchboard.connect(listener)
    except ValueError:  # Prefect raises nothing outside the main thread either
        yield
        return
    try:
        yield
    except BaseException as error:
        # In a group Prefect would not know it, and tell of an unexpected exception.
        if listener.ended or (isinstance(error, BaseExceptionGroup) and signal_behind(error) is not None):
            raise TerminationSignal(signal=signal.SIGTERM) from error
        raise
    finally:
        _switchboard.disconnect(listener)
        if listener.ended:
            task.uncancel()


@contextmanager
def sigterm_is_raised() -> Iterator[None]:
    """SIGTERM raises `TerminationSignal` in the block, whether a run is in work or has just been ended by it.

    Prefect passes a signal that ended a run on to the previous handler. By default that kills the process, and a
    command could not say any more what became of its job.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
