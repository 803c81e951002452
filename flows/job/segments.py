"""The segments of one job as one process works on them: found where they were done already, else made.

A part is looked for where an earlier run of this machine kept it, then in the exchange, where other workers of the job
publish theirs; only then is its segment swapped, restored and composed. A bounded number of segments is in work at a
time, so that memory and scratch stay bounded. A run that has finished its own share helps the others (`helping`): it
marks in the exchange what it takes, and the owner skips that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from faceflow.flows.job.help import farthest
from faceflow.flows.run.progress import RunProgress
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.exchange import Exchange, PreparedJob
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.media.facts import Segment
from faceflow.stages import order
from faceflow.stages.identity import JobIdentity
from faceflow.stages.results import FacesArtifact, Part
from faceflow.tasks.context import RunContext
from faceflow.tasks.steps import done, kept
from faceflow.vision.registry import resolve_engine

POLL_S = 0.5
TAKEN_S = 20.0
"""A segment that a helper took longer ago than this, and than three times what such a one took here, is done here."""


@dataclass(slots=True)
class Tally:
    """What this process itself worked on: frames whose parts it made, and seconds; and its slowest segment."""

    frames: int = 0
    seconds: float = 0.0
    slowest_s_a_frame: float = 0.0


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """Everything that segments of a job need in this process.

    Attributes:
        identity: under whose name results are kept.
        exchange: where parts are published and found; None where nobody else works on the job.
        counted: segments that were done elsewhere and that the bar knows of.
        tally: what was worked on here.
        taken: segments of others' shares that this process took.
    """

    job: SwapJob
    identity: JobIdentity
    run: RunContext
    progress: RunProgress
    prepared: PreparedJob
    exchange: Exchange | None
    counted: set[int] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    taken: set[int] = field(default_factory=set)

    async def parts(self, segments: Iterable[Segment]) -> dict[int, Part]:
        """The encoded part of every segment, by the segment's number."""
        in_flight = asyncio.Semaphore(self.run.settings.pipeline.segments_in_flight)

        async def part_of(segment: Segment) -> Part:
            try:
                async with in_flight:
                    part = await self.known(segment)
                    if part is None and not await self._others_have(segment):
                        return await self._made(segment)
                while part is None and await self._others_have(segment):
                    await asyncio.sleep(POLL_S)
                    part = await self.known(segment)
                if part is None:
                    async with in_flight:
                        part = await self.known(segment) or await self._made(segment)
            except BaseException:
                self.run.stop.set()  # threads of the other segments end at their next frame
                raise
            return part

        begun, made = time.monotonic(), self.tally.frames
        async with asyncio.TaskGroup() as group:
            tasks = {segment.number: group.create_task(part_of(segment)) for segment in segments}
        if self.tally.frames > made:  # else all were found, which is no measure of work
            self.tally.seconds += time.monotonic() - begun
        return {number: task.result() for number, task in tasks.items()}

    async def help(self, announce: Callable[[int], None] = lambda _frames: None) -> bool:
        """Makes the parts of some segments of others' shares, as many as are in work at a time; False: no need.

        Args:
            announce: told how many frames come on top of what was expected.
        """
        if self.exchange is None:
            return False
        chosen: list[Segment] = []
        in_flight = self.run.settings.pipeline.segments_in_flight
        while len(chosen) < in_flight:
            untouched = await asyncio.to_thread(self.exchange.untouched, self.prepared.plan.segments)
            segment = farthest(untouched, in_flight)
            if segment is None:
                break
            if await asyncio.to_thread(self.exchange.take, segment):
                self.taken.add(segment.number)
                self.counted.add(segment.number)  # by the stages that are about to run
                announce(segment.frames)
                events().info("segment.taken", segment=segment.number)
                chosen.append(segment)
        await self.parts(chosen)
        return bool(chosen)

    async def _others_have(self, segment: Segment) -> bool:
        """Whether a helper is on it, and may well be so: one that was lost is waited for in vain."""
        if self.exchange is None or segment.number in self.taken:
            return False
        taken_s = await asyncio.to_thread(self.exchange.taken_for_s, segment)
        if taken_s is None:
            return False
        own_s = self.tally.slowest_s_a_frame * segment.frames
        return taken_s < max(TAKEN_S, 3 * own_s)

    async def known(self, segment: Segment) -> Part | None:
        """The part that an earlier run or another worker made; None where the segment has to be worked on."""
        number = segment.number
        part: Part
        last = order.SEGMENT[-1]
        if isinstance(await kept(last, self.identity, number), Part):
            # The task's kept result comes back; the faces it was made of are gone and not needed.
            gone = dict.fromkeys(step.gives for step in order.SEGMENT)
            part = await done(last, self.identity, gone | self._known(segment), number)
            await self._publish(part)
        elif self.exchange is not None:
            found = await asyncio.to_thread(self.exchange.fetch_part, segment, self.run.directory)
            if found is None:
                return None
            part = found
            events().info("part.found", segment=number)
        else:
            return None
        self.count(segment)
        return part

    def count(self, segment: Segment) -> None:
        """Says that a segment was done elsewhere; twice is once."""
        if segment.number not in self.counted:
            self.counted.add(segment.number)
            for step in order.SEGMENT:
                self.progress.resumed(step.name, segment.frames)

    async def _made(self, segment: Segment) -> Part:
        number, begun = segment.number, time.monotonic()
        structlog.contextvars.bind_contextvars(segment=number)
        for step in order.SEGMENT[:-1]:
            if await kept(step, self.identity, number) is not None:
                self.progress.resumed(step.name, segment.frames)
        known, spent_files = self._known(segment), set()
        for step in order.SEGMENT:
            made = known[step.gives] = await done(step, self.identity, known, number)
            if isinstance(made, FacesArtifact):
                spent_files.add(made.file.path)
        part: Part = made
        for path in spent_files:
            path.unlink(missing_ok=True)
        await self._publish(part)
        self.tally.frames += segment.frames
        spent_s = time.monotonic() - begun
        self.tally.slowest_s_a_frame = max(self.tally.slowest_s_a_frame, spent_s / segment.frames)
        return part

    def _known(self, segment: Segment) -> dict[str, Any]:
        """What the steps of a segment take before the first of them."""
        return {"job": self.job, "segment": segment, **dict(self.prepared)}

    async def _publish(self, part: Part) -> None:
        if self.exchange is not None:
            await asyncio.to_thread(self.exchange.publish_part, part)


def with_engine(job: SwapJob, settings: Settings) -> SwapJob:
    """The job with its engine settled, where it said `auto`. Raises ModelError, EngineError."""
    engine = resolve_engine(job.swap.engine, settings)
    return job.model_copy(update={"swap": job.swap.model_copy(update={"engine": engine})})
