"""Divides segments among pools: consecutive ones together, by share, and never so few that starting a run costs more.

Pure, and the same wherever it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faceflow.flows.job.assignment import WorkPlace
from faceflow.infrastructure.routing.gpu_seconds import reference_seconds, speed
from faceflow.infrastructure.routing.snapshot import JobFacts
from faceflow.infrastructure.stores.exchange import PreparedJob
from faceflow.job import SwapJob
from faceflow.media.facts import Segment
from faceflow.stages.results import VideoSubject


@dataclass(frozen=True, slots=True)
class Shard:
    """Segments that one run works on, in order.

    Attributes:
        pool: where.
        work_s: how long that is estimated to take there, seconds.
    """

    pool: str
    segments: tuple[Segment, ...]
    work_s: float


def seconds_a_frame(job: SwapJob, prepared: PreparedJob, gpu: str) -> float:
    """Estimated seconds that one frame of a prepared job takes on a GPU of this type."""
    subject = prepared.mezzanine.subject
    video = subject.media.video if isinstance(subject, VideoSubject) else None
    facts = JobFacts(
        id="estimate",
        frames=1,
        width=video.width_px if video else None,
        height=video.height_px if video else None,
        faces=max(len(prepared.validated.people), 1),
        engine=job.swap.engine,
        restorer=job.swap.restorer,
    )
    seconds = reference_seconds(facts)
    return (seconds or 0.0) / speed(job.swap.engine, gpu)


def plan_shards(
    segments: Sequence[Segment], places: Sequence[WorkPlace], seconds_a_frame: Sequence[float], least_s: float
) -> tuple[Shard, ...]:
    """Divides segments among places.

    Args:
        segments: what is to be done, in order.
        places: pools, the coordinator's own first, with shares.
        seconds_a_frame: estimated seconds that a frame takes at each of the places.
        least_s: no shard but the coordinator's own takes less work than this, estimated seconds.

    Returns:
        Shards that hold every segment once. The first is the coordinator's own; it may be empty.
    """
    frames = sum(segment.frames for segment in segments)
    total = sum(place.share for place in places)
    own, seconds = places[0], seconds_a_frame[0]
    units: list[tuple[WorkPlace, float, float]] = []
    for place, frame_s in zip(places, seconds_a_frame, strict=True):
        work_s = frames * place.share / total * frame_s
        fitting = int(work_s / least_s) if least_s > 0 else len(segments)
        count = min(max(fitting, 1 if place is own else 0), place.shards)
        units += [(place, place.share / count, frame_s) for _ in range(count)]
    weights = sum(weight for _, weight, _ in units)
    shards = [Shard(own.pool, (), 0.0)]
    end, first, done = 0.0, 0, 0
    for number, (place, weight, frame_s) in enumerate(units):
        end += weight / weights * frames
        chosen: list[Segment] = []
        while first < len(segments) and (number == len(units) - 1 or done + segments[first].frames / 2 <= end):
            chosen.append(segments[first])
            done += segments[first].frames
            first += 1
        work_s = sum(segment.frames for segment in chosen) * frame_s
        if number == 0 or (chosen and work_s < least_s):
            joint = tuple(sorted((*shards[0].segments, *chosen), key=lambda segment: segment.number))
            shards[0] = Shard(own.pool, joint, sum(segment.frames for segment in joint) * seconds)
        elif chosen:
            shards.append(Shard(place.pool, tuple(chosen), work_s))
    return tuple(shards)
