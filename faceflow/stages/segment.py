"""The segment stage: decides the pieces that are worked on, and redone after a crash, as a whole."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.media.facts import Segment
from faceflow.media.plan import plan_segments
from faceflow.settings import SwapSettings
from faceflow.stages.results import Mezzanine, PictureSubject, Plan, ValidatedJob


def run_segment(job: SwapJob, validated: ValidatedJob, mezzanine: Mezzanine, settings: SwapSettings) -> Plan:
    """Plans the segments of the mezzanine. A picture is one segment of one frame."""
    subject = mezzanine.subject
    if isinstance(subject, PictureSubject):
        segments: tuple[Segment, ...] = (Segment(number=0, first=0, frames=1, context_before=0, context_after=0),)
    else:
        segments = plan_segments(
            subject.frame_index(),
            segment_s=job.encoding.segment_s,
            context_frames=settings.pipeline.context_frames,
            cuts=validated.cuts,
        )
    return Plan(
        segments=segments,
        people=validated.people,
        cuts=validated.cuts,
        tracks=validated.tracks,
        references=validated.references,
        cast=validated.cast,
    )
