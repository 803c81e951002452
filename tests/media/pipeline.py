"""The media part of a job without a swap: what goes in must come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faceflow.job import OutputOptions, SpeedPreset
from faceflow.media.facts import FrameIndex, MediaInfo, Segment
from faceflow.media.index import index_frames
from faceflow.media.join import join
from faceflow.media.native import NativeFrame
from faceflow.media.plan import plan_segments
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from faceflow.media.transcode import transcode, transcode_reasons
from faceflow.media.writer import PartWriter
from faceflow.settings import EncodeSettings, LimitSettings

LIMITS = LimitSettings()
ENCODE = EncodeSettings(threads=1)
ENCODING = OutputOptions(preset=SpeedPreset.ULTRAFAST)


@dataclass(frozen=True)
class Carried:
    media: MediaInfo
    index: FrameIndex
    reasons: tuple[str, ...]
    mezzanine: Path
    mezzanine_media: MediaInfo
    mezzanine_index: FrameIndex
    segments: tuple[Segment, ...]
    parts: tuple[Path, ...]
    output: Path
    notes: tuple[str, ...]


def carry(
    source: Path,
    output: Path,
    *,
    encoding: OutputOptions = ENCODING,
    segment_s: float = 0.4,
    place_note: str | None = None,
    compose: Callable[[NativeFrame], None] = lambda frame: None,
) -> Carried:
    """Takes a video through probe, index, transcode, plan, reader, `compose`, writer and join."""
    media = probe(source, LIMITS)
    index = index_frames(source, media, LIMITS)
    reasons = transcode_reasons(media, index, encoding)
    mezzanine, mezzanine_media, mezzanine_index = source, media, index
    folder = output.parent
    if reasons:
        mezzanine = folder / "mezzanine.mp4"
        mezzanine_media, mezzanine_index = transcode(source, media, index, encoding, ENCODE, mezzanine)
    segments = plan_segments(mezzanine_index, segment_s=segment_s, context_frames=4, cuts=())
    parts = []
    for segment in segments:
        parts.append(folder / f"part{segment.number}.mp4")
        reader = FrameReader(mezzanine, mezzanine_media, mezzanine_index)
        with reader, PartWriter(parts[-1], mezzanine_media, mezzanine_index, encoding, ENCODE) as writer:
            for frame in reader.read(segment.first, segment.frames):
                compose(frame)
                writer.write(frame)
    notes = join(parts, source, media, mezzanine_index, output, place_note=place_note)
    return Carried(
        media, index, reasons, mezzanine, mezzanine_media, mezzanine_index, segments, tuple(parts), output, notes
    )
