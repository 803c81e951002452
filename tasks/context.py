"""What a stage needs besides its inputs: settings, the job's scratch folder, somebody to tell how far it is.

The flow sets it once; tasks find it in a context variable, because live objects are no task parameters (they
could be neither shown, nor cached, nor sent to another process).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from faceflow.infrastructure.machine.memory import give_memory_back, keep_memory_low
from faceflow.infrastructure.settings import Settings
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.progress import Progress
from faceflow.stages.order import Step
from faceflow.vision.registry import engine_versions


class Watcher(Protocol):
    """The observer of the run. Called from worker threads."""

    def advanced(self, stage: str, frames: int) -> None:
        """`frames` more frames have gone through `stage`."""
        ...

    def finished(self, stage: str, seconds: float) -> None:
        """One piece of `stage` took `seconds` of wall-clock time."""
        ...


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run of one job in this process."""

    settings: Settings
    directory: Path
    watcher: Watcher
    threads: ThreadPoolExecutor
    engines: Mapping[str, str]
    """Versions of the engines that the job uses, for cache keys."""
    stop: threading.Event = field(default_factory=threading.Event)
    _begun: dict[str, object] = field(default_factory=dict)

    def progress(self, stage: str) -> Progress:
        """A `Progress` that counts for `stage` and ends it when the run is to stop.

        The first frame of a stage is an event: how long a machine took until it was at work.
        """

        def advanced(frames: int) -> None:
            mine = object()
            if self._begun.setdefault(stage, mine) is mine:
                events().info("stage.first_frame", stage=stage)
            self.watcher.advanced(stage, frames)

        return Progress(advanced, self.stop)

    async def work(self, step: Step, **known: Any) -> Any:
        """Does a step in a thread, with its time told and its events logged.

        Args:
            step: which one.
            known: what it takes; settings, folder and progress are those of the run.
        """
        log = events()
        log.debug("stage.started", stage=step.name)
        begun = time.monotonic()
        of_run = {"settings": self.settings, "directory": self.directory, "progress": self.progress(step.name)}
        bound = partial(copy_context().run, step.run, {**of_run, **known})
        try:
            result = await asyncio.get_running_loop().run_in_executor(self.threads, bound)
        finally:
            give_memory_back()
        seconds = time.monotonic() - begun
        self.watcher.finished(step.name, seconds)
        log.info("stage.finished", stage=step.name, seconds=round(seconds, 3))
        return result


_current: ContextVar[RunContext] = ContextVar("faceflow_run")


def current_run() -> RunContext:
    """The run that this task belongs to. Raises LookupError outside of one."""
    return _current.get()


@contextmanager
def running(settings: Settings, directory: Path, watcher: Watcher, job: SwapJob | None = None) -> Iterator[RunContext]:
    """Makes a run of a job the current one.

    When the block ends, however it ends, its threads are stopped and waited for, so that nobody writes into the job's
    folder any more.
    """
    keep_memory_low()
    options, identifies = (None, False) if job is None else (job.swap, job.maps_people)
    engines = engine_versions(options, settings, identifies=identifies)
    with ThreadPoolExecutor(settings.pipeline.segments_in_flight, thread_name_prefix="stage") as threads:
        context = RunContext(settings, directory, watcher, threads, engines)
        token = _current.set(context)
        try:
            yield context
        finally:
            context.stop.set()
            _current.reset(token)
