"""What each container that a video can be written to can say. A new container is one row of `CONTAINERS`.

A row says which endings choose the container, which codecs of other tracks it carries, what it can hide, and how
exactly it can say a time. Times as a container says them are computed here alone, as FFmpeg's muxers do it: in whole
ticks, the nearest one, a half away from zero. Python's own `round` takes halves to the even neighbour, which is one
tick off for every other frame of 23.976 frames per second in milliseconds that ends in a half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import PurePath
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import OutputError
from faceflow.media.facts import FrameIndex

_LIKE_MP4 = frozenset({"aac", "mp3", "mp2", "mp1", "ac3", "eac3", "alac"})
_PCM_LIKE_MP4 = frozenset(
    {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be"}
)
_TAGS = frozenset({"title", "artist", "album", "date", "comment", "genre", "copyright", "location", "creation_time"})
_QUICKTIME_LANGUAGES = MappingProxyType(
    {
        "deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "swe": "sve", "sqi": "alb", "mya": "bur",
        "msa": "may", "kat": "geo", "hye": "arm", "fre": "fra", "cze": "ces", "rum": "ron", "slo": "slk",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputContainer:
    """One container.

    Attributes:
        muxer: FFmpeg's name of it; `rounding` notes and errors name the container by it.
        endings: of file names, lower case.
        audio: codecs of audio tracks that are copied; others are re-encoded.
        subtitles: codecs of subtitle tracks that are copied; others are left out.
        tick_s: seconds a tick, where the container has one clock for all; None: the picture's own clock is written.
        options: of the muxer, always the same.
        clock_options: of the muxer: which take the denominator of the picture's clock, where that is written.
        common_clock_options: which take a clock that picture and sound have in common.
        hides_packets: whether packets can be there and not be shown (edit lists).
        hevc_tag: what HEVC is called, where its usual name is not what players ask for.
        title: what people call it.
        classical_tags: names of tags that most players look for, where those have a place of their own; None: any name
            is as good as another.
        counts_timecode: whether a timecode is a track that counts frames, so that it must fit the frame rate.
        attachments: whether fonts and other files can be put in.
        languages: the container's own codes of languages, by ISO 639-2/T code.
    """

    muxer: str
    endings: tuple[str, ...]
    audio: frozenset[str]
    subtitles: frozenset[str]
    tick_s: Fraction | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    clock_options: tuple[str, ...] = ()
    common_clock_options: tuple[str, ...] = ()
    hides_packets: bool = False
    hevc_tag: str | None = None
    title: str
    classical_tags: frozenset[str] | None = None
    counts_timecode: bool = False
    attachments: bool = False
    languages: Mapping[str, str] = field(default_factory=dict)

    def language_tag(self, language: str) -> str:
        """A track's language as the muxer knows it."""
        return self.languages.get(language, language)


_MP4 = OutputContainer(
    muxer="mp4",
    endings=(".mp4", ".m4v"),
    audio=_LIKE_MP4 | _PCM_LIKE_MP4 | {"opus", "flac", "vorbis", "dts"},  # PCM: ISO/IEC 23003-5
    subtitles=frozenset({"mov_text"}),
    options=MappingProxyType({"movflags": "+faststart", "fflags": "+bitexact"}),
    clock_options=("video_track_timescale",),
    common_clock_options=("movie_timescale",),
    hides_packets=True,
    hevc_tag="hvc1",  # what Apple's players ask for
    title="MP4",
    classical_tags=_TAGS
    | {"album_artist", "composer", "grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network"}
    | {"keywords", "track", "disc", "episode_sort", "season_number"},
    counts_timecode=True,
)
_MOV = OutputContainer(
    muxer="mov",
    endings=(".mov",),
    audio=_LIKE_MP4
    | _PCM_LIKE_MP4
    | {"adpcm_ima_qt", "mace3", "mace6"}
    | {"pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw", "pcm_f64le", "pcm_f64be"},
    subtitles=_MP4.subtitles,
    options=_MP4.options,
    clock_options=_MP4.clock_options,
    common_clock_options=_MP4.common_clock_options,
    hides_packets=True,
    hevc_tag="hvc1",
    title="MOV",
    classical_tags=_TAGS | {"make", "model"},
    counts_timecode=True,
    languages=_QUICKTIME_LANGUAGES,  # numbers for the older (bibliographic) codes only
)
_MATROSKA = OutputContainer(
    muxer="matroska",
    endings=(".mkv",),
    audio=_LIKE_MP4
    | {"opus", "flac", "vorbis", "dts", "truehd", "mlp", "tta", "wavpack"}
    | {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32le"},
    subtitles=frozenset({"subrip", "ass", "webvtt", "dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle"}),
    tick_s=Fraction(1, 1000),
    options=MappingProxyType({"fflags": "+bitexact", "avoid_negative_ts": "disabled"}),
    title="MKV",
    attachments=True,
)

CONTAINERS = (_MP4, _MOV, _MATROSKA)
"""Every container that a video can be written to."""

BY_ENDING = MappingProxyType({ending: row for row in CONTAINERS for ending in row.endings})
"""The containers by the endings that choose them."""


def output_container(destination: PurePath) -> OutputContainer:
    """The container for a destination's ending. Raises `output.container_unsupported`."""
    container = BY_ENDING.get(destination.suffix.lower())
    if container is None:
        raise OutputError(
            "output.container_unsupported",
            f"Videos cannot be written to files ending in '{destination.suffix}'.",
            f"Choose an output name that ends in one of {', '.join(sorted(BY_ENDING))}.",
        )
    return container


def written_times(
    index: FrameIndex, origin: Fraction, container: OutputContainer
) -> tuple[NDArray[np.int64], Fraction]:
    """The frames' times as the container writes them.

    Args:
        index: the frames.
        origin: the time that becomes zero, seconds; whole ticks of the denominator of the index's time base.
        container: what is written.

    Returns:
        Ticks, int64 (N,), in presentation order, and seconds a tick.
    """
    clock = Fraction(1, index.time_base.denominator)
    ticks = index.pts * index.time_base.numerator - int(origin / clock)
    if container.tick_s is None:
        return ticks, clock
    return nearest_ticks(ticks, clock / container.tick_s), container.tick_s


def nearest_ticks(ticks: NDArray[np.int64], ratio: Fraction) -> NDArray[np.int64]:
    """Ticks of one clock in those of another, `ratio` to one: the nearest, halves away from zero.

    This is `AV_ROUND_NEAR_INF`, by which FFmpeg rescales what is muxed.
    """
    exact = np.abs(ticks).astype(object) * ratio.numerator  # whole numbers of any size
    nearest = (2 * exact + ratio.denominator) // (2 * ratio.denominator)
    return np.asarray(np.sign(ticks) * nearest, np.int64)
