"""The small whole clips that are mutated: a dozen frames of 64 by 64 pixels, with sound. A case takes milliseconds.

Made without random numbers and times of day (`bitexact`, one thread): the same FFmpeg makes the same bytes, so a case
is known by its container, its seed and its number alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.clips import AAC, X264, X264_B, ffmpeg, picture, tone, x265
from tests.fuzz.layout import Layout
from tests.fuzz.layout_chunks import asf_layout, avi_layout, flv_layout
from tests.fuzz.layout_matroska import matroska_layout
from tests.fuzz.layout_mp4 import mp4_layout
from tests.fuzz.layout_mpeg import program_layout, transport_layout, with_checked_tables

_EXACT = ["-fflags", "+bitexact", "-flags", "+bitexact", "-threads", "1", "-map_metadata", "-1"]
_SHORT_GROUPS = ["-x264-params", "bframes=2:keyint=6:min-keyint=6:scenecut=0"]
_VP8 = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"]
_VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "6"]
_WORDS = "1\n00:00:00,050 --> 00:00:00,200\nGuten Tag\n\n2\n00:00:00,250 --> 00:00:00,400\nÀ bientôt\n"
_CHAPTERS = (
    ";FFMETADATA1\ntitle=Two tongues\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=480\ntitle=Two\n"
)


@dataclass(frozen=True)
class Container:
    """A kind of file: its ending, the reader of its layout, what makes its clips, what mends a mutated one's checks."""

    suffix: str
    layout: Callable[[bytes], Layout]
    recipes: tuple[tuple[str, ...], ...]
    checked: Callable[[bytearray], None] | None = None


def _sounding(*codecs: str) -> tuple[str, ...]:
    return (*picture(0.48, size="64x64"), *tone(0.48), *codecs)


def _tongues(*codecs: str) -> tuple[str, ...]:
    return (
        *picture(0.48, size="64x64"), *tone(0.48), "-i", "{folder}/words.srt", "-i", "{folder}/chapters.txt",
        "-map", "0:v", "-map", "1:a", "-map", "2:s", *codecs, "-map_chapters", "3",
        "-metadata:s:a:0", "language=deu", "-metadata", "title=Tongues",
    )  # fmt: skip


_PLAIN = _sounding(*X264, *_SHORT_GROUPS, *AAC)
_ALL = "{folder}/mp4-0.mp4"
CONTAINERS = {
    "mp4": Container(
        ".mp4",
        mp4_layout,
        (
            _PLAIN,
            ("-ss", "0.1", "-i", _ALL, "-c", "copy"),  # an edit list that hides packets
            ("-display_rotation", "90", "-itsoffset", "0.3", "-i", _ALL, "-c", "copy"),
            _tongues(*X264_B, *AAC, "-c:s", "mov_text"),
            _sounding(*x265("keyint=6"), "-pix_fmt", "yuv420p10le", *AAC),
            _sounding("-c:v", "mpeg4", "-bf", "1", "-c:a", "ac3"),
        ),
    ),
    "mov": Container(
        ".mov",
        mp4_layout,
        (
            _sounding("-c:v", "mjpeg", "-c:a", "pcm_s16be"),
            _sounding("-c:v", "prores_ks", "-profile:v", "3", "-c:a", "pcm_s24le"),
            _sounding("-c:v", "png", "-c:a", "adpcm_ima_qt"),
        ),
    ),
    "fmp4": Container(
        ".mp4",
        mp4_layout,
        (
            ("-i", _ALL, "-c", "copy", "-movflags", "+frag_keyframe+empty_moov"),
            ("-i", _ALL, "-c", "copy", "-movflags", "+frag_every_frame+default_base_moof+delay_moov"),
            ("-i", _ALL, "-c", "copy", "-movflags", "+dash+global_sidx", "-frag_duration", "100000"),
        ),
    ),
    "mkv": Container(
        ".mkv",
        matroska_layout,
        (
            _sounding(*X264, *_SHORT_GROUPS, "-c:a", "libopus"),
            _tongues(*X264_B, "-c:a", "flac", "-c:s", "srt"),
            ("-i", _ALL, "-c", "copy"),
            _sounding("-c:v", "ffv1", "-c:a", "pcm_s16le"),
            _sounding("-c:v", "mpeg4", "-c:a", "libmp3lame"),
            _sounding("-c:v", "mpeg2video", "-bf", "1", "-c:a", "ac3"),
        ),
    ),
    "webm": Container(
        ".webm",
        matroska_layout,
        (
            _sounding(*_VP9, "-c:a", "libopus"),
            _sounding(*_VP8, "-c:a", "libvorbis"),
            _sounding("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1", "-c:a", "libopus"),
        ),
    ),
    "ts": Container(
        ".ts",
        transport_layout,
        (
            _sounding(*X264, *_SHORT_GROUPS, *AAC),
            _sounding("-c:v", "mpeg2video", "-bf", "1", "-c:a", "mp2"),
            _sounding(*x265("keyint=6"), "-pix_fmt", "yuv420p", "-c:a", "ac3"),
        ),
        with_checked_tables,
    ),
    "ps": Container(
        ".mpg",
        program_layout,
        (
            _sounding("-c:v", "mpeg2video", "-bf", "1", "-c:a", "mp2"),
            _sounding("-c:v", "mpeg1video", "-c:a", "mp2"),
            _sounding("-c:v", "mpeg2video", "-c:a", "ac3", "-f", "vob"),
        ),
    ),
    "avi": Container(
        ".avi",
        avi_layout,
        (
            _sounding("-c:v", "mpeg4", "-c:a", "libmp3lame"),
            _sounding("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
            _sounding("-c:v", "huffyuv", "-pix_fmt", "yuv422p", "-c:a", "adpcm_ms"),
            _sounding("-c:v", "msmpeg4", "-c:a", "ac3"),
            _sounding("-c:v", "rawvideo", "-pix_fmt", "bgr24", "-c:a", "pcm_u8"),
        ),
    ),
    "flv": Container(
        ".flv",
        flv_layout,
        (
            _sounding("-c:v", "flv1", "-c:a", "libmp3lame", "-ar", "44100"),
            ("-i", _ALL, "-c", "copy"),
        ),
    ),
    "asf": Container(
        ".wmv",
        asf_layout,
        (_sounding("-c:v", "wmv2", "-c:a", "wmav2"), _sounding("-c:v", "wmv1", "-c:a", "wmav2")),
    ),
}


def make_bases(folder: Path) -> None:
    """Makes every clip that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.srt").write_text(_WORDS, encoding="utf-8")
    (folder / "chapters.txt").write_text(_CHAPTERS)
    for name, container in CONTAINERS.items():
        for number, recipe in enumerate(container.recipes):
            path = _path(folder, name, number)
            if not path.exists():
                made = path.with_name(f"making-{os.getpid()}{container.suffix}")
                ffmpeg(*(part.replace("{folder}", str(folder)) for part in recipe), *_EXACT, made)
                made.replace(path)


@cache
def bases(folder: Path, name: str) -> tuple[bytes, ...]:
    """The clips of one container."""
    return tuple(_path(folder, name, number).read_bytes() for number in range(len(CONTAINERS[name].recipes)))


@cache
def layout_of(folder: Path, name: str, number: int) -> Layout:
    """The layout of one of them."""
    return CONTAINERS[name].layout(bases(folder, name)[number])


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number}{CONTAINERS[name].suffix}"
