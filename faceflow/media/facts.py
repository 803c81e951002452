"""What faceflow knows about a file and its frames: the facts that every media module reads.

Times are rational: `pts` in ticks of a `time_base` in seconds. A frame rate is never used to compute a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from faceflow.array_file import Form, damaged, read_arrays
from faceflow.job import FrozenModel

_FORM: Form = {
    "pts": ("i", (None,)),
    "durations": ("i", (None,)),
    "key": ("b", (None,)),
    "time_base": ("i", (2,)),
    "left_out_names": ("U", (None,)),
    "left_out_counts": ("i", (None,)),
    "interlaced": ("i", ()),
}
"""The frame index as a file."""

_RATIO = re.compile(r"-?[0-9]{1,19}(/0*[1-9][0-9]{0,18})?")


def _as_ratio(value: Any) -> Any:
    if isinstance(value, Fraction | int) or (isinstance(value, str) and _RATIO.fullmatch(value)):
        return value
    raise ValueError(
        "a ratio must be written like 1001/30000"
    )  # and never as 1e999999999, which takes minutes to multiply


Ratio = Annotated[Fraction, BeforeValidator(_as_ratio)]
"""A fraction as a field of a model that is kept as JSON: whole numbers, and never by zero."""


class ColourTags(FrozenModel):
    """Colour description as the stream states it: FFmpeg's integer codes, 2 means not stated.

    `colour_range` uses FFmpeg's codes too: 0 not stated, 1 limited (tv), 2 full (pc).
    """

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    colour_range: int = 0
    chroma_location: int = 0


class HdrMetadata(FrozenModel):
    """HDR10 side data, as text in x265's own notation, so that it can be handed to the encoder unchanged.

    `mastering_display`: `G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`; `content_light`: `MaxCLL,MaxFALL` in cd/m2.
    """

    mastering_display: str | None = None
    content_light: str | None = None


class VideoInfo(FrozenModel):
    """The video track. Width and height are of the upright picture, as a player shows it before SAR."""

    stream_index: int
    codec: str
    width_px: int
    height_px: int
    coded_width_px: int
    coded_height_px: int
    pixel_format: str
    bit_depth: int
    time_base: Ratio
    average_rate: Ratio | None
    rotation_degrees: Literal[0, 90, 180, 270] = 0
    """Clockwise turn that makes the decoded frame upright."""
    mirrored: bool = False
    sample_aspect_ratio: Ratio = Fraction(1)
    colour: ColourTags = ColourTags()
    hdr: HdrMetadata = HdrMetadata()
    interlaced: bool = False
    transparent: bool = False
    """Whether pixels may be transparent; the result has none of that."""
    language: str | None = None


class AudioInfo(FrozenModel):
    """One audio track."""

    stream_index: int
    codec: str
    sample_rate_hz: int
    channels: int
    layout: str
    time_base: Ratio
    language: str | None = None


class OtherStreamInfo(FrozenModel):
    """A track that is neither the video nor audio: subtitles, data, attachments, cover pictures, more videos."""

    stream_index: int
    kind: str
    codec: str
    language: str | None = None


class MediaInfo(FrozenModel):
    """What a video file is, as read from its headers and first frames."""

    container: str
    size_bytes: int
    duration_s: float | None
    video: VideoInfo
    audio: tuple[AudioInfo, ...] = ()
    other: tuple[OtherStreamInfo, ...] = ()
    track_notes: tuple[str, ...] = ()
    """What the user should know of tracks that begin late or take over from one another (see `track_changes`)."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Every frame that the decoder shows, in presentation order.

    Attributes:
        pts: int64 (N,), strictly increasing presentation timestamps in ticks of `time_base`.
        durations: int64 (N,), ticks; the distance to the next frame, the last one as the file states it (>= 1).
        key: bool (N,), True where decoding can start.
        time_base: seconds a tick.
        left_out: why packets of the file gave no frame, with counts (`discarded`, `undecodable`).
        interlaced: how many frames are stored as two fields.
    """

    pts: NDArray[np.int64]
    durations: NDArray[np.int64]
    key: NDArray[np.bool_]
    time_base: Fraction
    left_out: dict[str, int]
    interlaced: int = 0

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.pts)

    def time_s(self, frame: int) -> Fraction:
        """Presentation time of a frame in seconds, exactly."""
        return int(self.pts[frame]) * self.time_base

    def save(self, path: Path) -> None:
        """Writes the index to `path` (npz), under a temporary name first."""
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.savez(
                file,
                pts=self.pts,
                durations=self.durations,
                key=self.key,
                time_base=np.array([self.time_base.numerator, self.time_base.denominator], np.int64),
                left_out_names=np.array(list(self.left_out), dtype=np.str_),
                left_out_counts=np.array(list(self.left_out.values()), np.int64),
                interlaced=np.array(self.interlaced, np.int64),
            )
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> FrameIndex:
        """Reads what `save` wrote.

        Raises:
            FaultError: `fault.artifact_missing`, `fault.artifact_damaged`.
        """
        data = read_arrays(path, _FORM)
        pts, durations, key = data["pts"], data["durations"], data["key"]
        numerator, denominator = map(int, data["time_base"])
        names, counts = data["left_out_names"].tolist(), data["left_out_counts"].tolist()
        if not len(pts) == len(durations) == len(key) or len(names) != len(counts):
            raise damaged(path, "its columns have different lengths")
        if numerator <= 0 or denominator <= 0 or (np.diff(pts) <= 0).any() or (durations <= 0).any():
            raise damaged(path, "its times do not run forwards")
        return cls(
            pts=pts,
            durations=durations,
            key=key,
            time_base=Fraction(numerator, denominator),
            left_out=dict(zip(names, counts, strict=True)),
            interlaced=int(data["interlaced"]),
        )


class Segment(FrozenModel):
    """A range of the mezzanine's frames, with context on either side for smoothing.

    The segment owns frames `first .. first + frames - 1`; the swap also reads `context_before` frames before and
    `context_after` frames after them, but writes none of those.
    """

    number: int
    first: int
    frames: int
    context_before: int
    context_after: int
