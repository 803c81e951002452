"""How far a run is: counted from worker threads, shown in the Prefect UI and to observers in this process.

Work is counted in frames of each step, weighted by what a frame costs there (`faceflow.stages.order`), so that the bar
moves evenly. The run's progress artifact is updated at most once a second, from the flow, never from a worker thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.exceptions import PrefectException

from faceflow.log import events
from faceflow.stages import order

UPDATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is.

    Attributes:
        stage: what was last heard of.
        fraction: 0 to 1 of all work.
        frames: frames of the target, 0 while they are not counted yet.
        frames_done: `fraction` of them; while they are not counted yet, how many were.
        frames_a_second: over the run so far, without what was resumed; None in the beginning.
        left_s: estimated seconds to the end; None in the beginning.
    """

    stage: str
    fraction: float
    frames: int
    frames_done: float
    frames_a_second: float | None
    left_s: float | None


Observer = Callable[[Snapshot], None]
_observer: ContextVar[Observer | None] = ContextVar("faceflow_observer", default=None)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Runs started in this block, in this process, report to `observer` (called in the event loop's thread)."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


class RunProgress:
    """Counts one run. `advanced` and `finished` are called from worker threads, the rest from the flow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[str, float] = defaultdict(float)
        self._seconds: dict[str, float] = defaultdict(float)
        self._costs = {step.name: step.cost for step in order.steps() if step.cost}
        self._preparing = {step.name for step in order.PREPARATION} & self._costs.keys()
        self._always = tuple(step.name for step in order.steps() if step.cost and not step.where_needed)
        self._where_needed = tuple(step.name for step in order.steps() if step.cost and step.where_needed)
        self._first = self._stage = order.steps()[0].name
        self._frames = 0
        self._stages = self._always
        self._resumed = 0.0
        self._complete = False
        self._begun = time.monotonic()

    def expect(self, frames: int, *, transcoding: bool) -> None:
        """Says how many frames the target has, now that all are prepared, and whether they were transcoded for it."""
        with self._lock:
            self._stages = (*self._always, *self._where_needed) if transcoding else self._always
            self._prepared(frames)

    def expect_more(self, frames: int) -> None:
        """`frames` come on top of what was expected."""
        with self._lock:
            self._prepared(self._frames + frames)

    def _prepared(self, frames: int) -> None:
        """What an earlier run or another machine has prepared was not counted here."""
        self._frames = frames
        for stage in set(self._stages) & self._preparing:
            elsewhere = max(frames - self._done[stage], 0.0)
            self._done[stage] += elsewhere
            self._resumed += elsewhere * self._costs[stage]

    def complete(self) -> None:
        """Everything is done, by whomever."""
        with self._lock:
            self._complete = True

    def resumed(self, stage: str, frames: int) -> None:
        """`frames` of `stage` had been done by an earlier run."""
        with self._lock:
            self._done[stage] += frames
            self._resumed += frames * self._costs.get(stage, 0.0)

    def advanced(self, stage: str, frames: int) -> None:
        """See `faceflow.tasks.context.Watcher`."""
        with self._lock:
            self._stage = stage
            self._done[stage] += frames

    def finished(self, stage: str, seconds: float) -> None:
        """See `faceflow.tasks.context.Watcher`."""
        with self._lock:
            self._stage = stage
            self._seconds[stage] += seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds by stage, summed over its pieces (pieces that ran side by side count in full)."""
        with self._lock:
            return {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}

    def snapshot(self) -> Snapshot:
        """How far the run is now."""
        with self._lock:
            total = sum(self._costs[stage] for stage in self._stages) * self._frames
            done = sum(self._costs.get(stage, 0.0) * count for stage, count in self._done.items())
            fraction = 1.0 if self._complete else min(done / total, 1.0) if total else 0.0
            fresh = done - self._resumed
            elapsed_s = time.monotonic() - self._begun
            rate = fresh / elapsed_s if fresh > 0 else None
            return Snapshot(
                stage=self._stage,
                fraction=fraction,
                frames=self._frames,
                frames_done=fraction * self._frames if total else self._done[self._first],
                frames_a_second=rate / total * self._frames if rate and total else None,
                left_s=(1.0 - fraction) * total / rate if rate and total else None,
            )


@asynccontextmanager
async def shown(progress: RunProgress, artifact_key: str, description: str) -> AsyncIterator[None]:
    """Keeps a progress artifact of the run, and the observer, up to date while the block runs.

    Neither can end the run: where the server or the screen does not take it, the next second tries again.
    """
    bar = _Bar(progress, artifact_key, description)
    await bar.publish(None)
    updates = asyncio.create_task(_update(bar))
    try:
        yield
    finally:
        updates.cancel()
        await asyncio.gather(updates, return_exceptions=True)
        await bar.publish(None)


async def _update(bar: _Bar) -> None:
    published: float | None = time.monotonic()
    while True:
        published = await bar.publish(published)
        await asyncio.sleep(UPDATE_S / 4)


@dataclass(slots=True)
class _Bar:
    """The progress artifact of one run, made when the server first takes it."""

    progress: RunProgress
    key: str
    description: str
    artifact: UUID | None = None

    async def publish(self, published: float | None) -> float:
        """Tells how far the run is, the server at most once a second; gives when that was told it last."""
        snapshot = self.progress.snapshot()
        _tell_observer(snapshot)
        now = time.monotonic()
        if published is not None and now - published < UPDATE_S:
            return published
        percent = round(100 * snapshot.fraction, 1)
        try:
            if self.artifact is None:
                made = await acreate_progress_artifact(percent, key=self.key, description=self.description)
                self.artifact = made if isinstance(made, UUID) else None
            else:
                await aupdate_progress_artifact(self.artifact, progress=percent)
        except (httpx.HTTPError, PrefectException) as error:
            events().warning("progress.not_published", error=str(error))
        return now


def _tell_observer(snapshot: Snapshot) -> None:
    observer = _observer.get()
    if observer is None:
        return
    try:
        observer(snapshot)
    except Exception as error:  # noqa: BLE001 - a screen that is gone is no reason to end the work
        events().warning("progress.not_shown", error=f"{type(error).__name__}: {error}")
