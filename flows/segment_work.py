"""The segments of one job as one process works on them: found where they were done already, else made.

A part is looked for where an earlier run of this machine kept it, then in the exchange, where other workers of the job
publish theirs; only then is its segment swapped, restored and composed. A bounded number of segments is in work at a
time, so that memory and scratch stay bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.media.model import Segment
from faceflow.settings import Settings
from faceflow.stages.identity import JobIdentity
from faceflow.stages.model import Part
from faceflow.vision.registry import resolve_engine
from flows.progress import RunProgress
from infrastructure.storage.exchange import Exchange, PreparedJob
from tasks.context import RunContext
from tasks.merge import compose
from tasks.restore import restore
from tasks.stage_task import call, kept_result
from tasks.swap import swap


@dataclass(slots=True)
class Tally:
    """What this process itself worked on: frames whose parts it made, and seconds."""

    frames: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """Everything that segments of a job need in this process.

    Attributes:
        identity: under whose name results are kept.
        exchange: where parts are published and found; None where nobody else works on the job.
        counted: segments that were done elsewhere and that the bar knows of.
        tally: what was worked on here.
    """

    job: SwapJob
    identity: JobIdentity
    run: RunContext
    progress: RunProgress
    prepared: PreparedJob
    exchange: Exchange | None
    counted: set[int] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)

    async def parts(self, segments: Iterable[Segment]) -> dict[int, Part]:
        """The encoded part of every segment, by the segment's number."""
        in_flight = asyncio.Semaphore(self.run.settings.pipeline.segments_in_flight)

        async def part_of(segment: Segment) -> Part:
            async with in_flight:
                try:
                    return await self.part(segment)
                except BaseException:
                    self.run.stop.set()  # threads of the other segments end at their next frame
                    raise

        begun, made = time.monotonic(), self.tally.frames
        async with asyncio.TaskGroup() as group:
            tasks = {segment.number: group.create_task(part_of(segment)) for segment in segments}
        if self.tally.frames > made:  # else all were found, which is no measure of work
            self.tally.seconds += time.monotonic() - begun
        return {number: task.result() for number, task in tasks.items()}

    async def part(self, segment: Segment) -> Part:
        """The encoded part of one segment."""
        return await self.known(segment) or await self._made(segment)

    async def known(self, segment: Segment) -> Part | None:
        """The part that an earlier run or another worker made; None where the segment has to be worked on."""
        number = segment.number
        part: Part
        if isinstance(await kept_result(compose, self.identity, number), Part):
            # The task's kept result comes back; the faces it was made of are gone and not needed.
            part = await call(compose, self.identity, number, faces=None, **self._composed(segment))
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
            for stage in ("swap", "restore", "compose"):
                self.progress.resumed(stage, segment.frames)

    async def _made(self, segment: Segment) -> Part:
        number, common = segment.number, {"job": self.job, "segment": segment}
        structlog.contextvars.bind_contextvars(segment=number)
        media = {"validated": self.prepared.validated, "mezzanine": self.prepared.mezzanine}
        swapped = await call(swap, self.identity, number, plan=self.prepared.plan, **common, **media)
        restored = await call(restore, self.identity, number, faces=swapped, **common)
        part: Part = await call(compose, self.identity, number, faces=restored, **self._composed(segment))
        for faces in (swapped, restored):
            faces.file.path.unlink(missing_ok=True)
        await self._publish(part)
        self.tally.frames += segment.frames
        return part

    def _composed(self, segment: Segment) -> dict[str, Any]:
        prepared = self.prepared
        return {
            "job": self.job,
            "segment": segment,
            "validated": prepared.validated,
            "mezzanine": prepared.mezzanine,
        }

    async def _publish(self, part: Part) -> None:
        if self.exchange is not None:
            await asyncio.to_thread(self.exchange.publish_part, part)


def with_engine(job: SwapJob, settings: Settings) -> SwapJob:
    """The job with its engine settled, where it said `auto`. Raises ModelError, EngineError."""
    engine = resolve_engine(job.swap.engine, settings)
    return job.model_copy(update={"swap": job.swap.model_copy(update={"engine": engine})})
