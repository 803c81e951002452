"""Every codec on the list has a file here, under every name that containers have for it, and is carried whole."""

from __future__ import annotations

import contextlib
import subprocess

import av
import numpy as np
import pytest

from faceflow.media.codecs import VIDEO_CODECS
from faceflow.media.probe import probe
from tests.clips import CLIPS, Clip, ffmpeg, ffmpeg_binary, picture, tone
from tests.media import flat_wmv3, witness
from tests.media.pipeline import LIMITS, carry

X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]
VPX = ["-deadline", "realtime", "-cpu-used", "8", "-g", "12"]
MPEG4 = ["-c:v", "mpeg4", "-q:v", "3"]

CODEC_ROWS = {
    "h264": (".mp4", X264),
    "hevc": (".mkv", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1"]),
    "vvc": (".mp4", ["-c:v", "libvvenc", "-preset", "faster", "-pix_fmt", "yuv420p10le", "-threads", "1"]),
    "av1": (".mkv", ["-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1"]),
    "vp8": (".webm", ["-c:v", "libvpx", *VPX]),
    "vp9": (".webm", ["-c:v", "libvpx-vp9", *VPX]),
    "theora": (".mkv", ["-c:v", "libtheora", "-q:v", "8"]),
    "mpeg1video": (".mpg", ["-c:v", "mpeg1video", "-q:v", "3"]),
    "mpeg2video": (".ts", ["-c:v", "mpeg2video", "-q:v", "3"]),
    "mpeg4": (".avi", MPEG4),
    "msmpeg4v2": (".avi", ["-c:v", "msmpeg4v2", "-q:v", "3"]),
    "msmpeg4v3": (".avi", ["-c:v", "msmpeg4", "-q:v", "3"]),
    "h263": (".3gp", ["-c:v", "h263", "-q:v", "3", "-s", "176x144", "-c:a", "aac"]),
    "flv1": (".flv", ["-c:v", "flv", "-q:v", "3", "-c:a", "aac"]),
    "wmv1": (".wmv", ["-c:v", "wmv1", "-q:v", "3", "-c:a", "wmav2"]),
    "wmv2": (".wmv", ["-c:v", "wmv2", "-q:v", "3", "-c:a", "wmav2"]),
    "wmv3": (".wmv", ["-c:a", "wmav2"]),  # its picture is made by hand
    "prores": (".mov", ["-c:v", "prores_ks"]),
    "dnxhd": (".mov", ["-c:v", "dnxhd", "-profile:v", "dnxhr_sq", "-s", "256x144"]),
    "cfhd": (".mov", ["-c:v", "cfhd"]),
    "dvvideo": (".avi", ["-c:v", "dvvideo", "-s", "720x576", "-pix_fmt", "yuv420p"]),
    "mjpeg": (".avi", ["-c:v", "mjpeg", "-q:v", "3"]),
    "jpeg2000": (".mov", ["-c:v", "jpeg2000"]),
    "ffv1": (".mkv", ["-c:v", "ffv1"]),
    "huffyuv": (".avi", ["-c:v", "huffyuv", "-pix_fmt", "yuv422p"]),
    "ffvhuff": (".mkv", ["-c:v", "ffvhuff"]),
    "utvideo": (".avi", ["-c:v", "utvideo"]),
    "magicyuv": (".avi", ["-c:v", "magicyuv"]),
    "png": (".mov", ["-c:v", "png"]),
    "qtrle": (".mov", ["-c:v", "qtrle"]),
    "rawvideo": (".avi", ["-c:v", "rawvideo", "-pix_fmt", "yuv420p"]),
    "v210": (".mov", ["-c:v", "v210", "-pix_fmt", "yuv422p10le"]),
}

NAME_ROWS = [
    *(("mpeg4", ".avi", tag) for tag in ("DIVX", "XVID", "DX50", "FMP4", "MP4V", "3IV2")),
    *(("mpeg4", suffix, "mp4v") for suffix in (".mov", ".mp4", ".mkv")),
    *(("msmpeg4v3", ".avi", tag) for tag in ("DIV3", "MP43", "DIV4")),
    ("msmpeg4v3", ".mkv", ""),
    ("msmpeg4v3", ".wmv", ""),
    ("msmpeg4v2", ".avi", "MP42"),
    ("msmpeg4v2", ".mkv", ""),
    *(("wmv3", suffix, "") for suffix in (".avi", ".mkv")),
    ("flv1", ".mkv", ""),
    ("h263", ".avi", "H263"),
    *(("h264", ".avi", tag) for tag in ("H264", "X264", "avc1")),
    ("h264", ".flv", ""),
    ("hevc", ".mp4", "hvc1"),
    ("hevc", ".mp4", "hev1"),
    ("mjpeg", ".mov", "jpeg"),
    ("dvvideo", ".mov", ""),
    ("cfhd", ".avi", ""),
    ("av1", ".mp4", ""),
    ("vp9", ".mp4", ""),
]
"""(codec, container, FourCC): names under which the same codec is found."""
IN_SHORT = {("mpeg4", ".avi", "XVID"), ("msmpeg4v3", ".avi", "DIV3"), ("flv1", ".mkv", ""), ("hevc", ".mp4", "hev1")}


def clip_of(codec, suffix, tag):
    arguments = CODEC_ROWS[codec][1]
    if "-c:a" not in arguments:
        sound = {".webm": "libopus", ".avi": "libmp3lame", ".mpg": "mp2", ".wmv": "wmav2"}.get(suffix, "aac")
        arguments = [*arguments, "-c:a", sound]
    if codec == "wmv3":
        return Clip(f"codec_{codec}", suffix, maker=_wmv3)
    named = ["-vtag", tag] if tag else []
    return Clip(f"codec_{codec}_{tag}", suffix, [*picture(0.8), *tone(0.8, 44100), *arguments, *named, "-strict", "-2"])


def _wmv3(clips, path):
    """Twenty flat pictures, each of another colour."""
    colours = [(number - 10, number % 15 - 7, 7 - number * 3 % 15) for number in range(20)]
    raw = clips.folder / "flat.rcv"
    raw.write_bytes(flat_wmv3.raw_stream(96, 64, 25, colours))
    sound = {".avi": "libmp3lame", ".wmv": "wmav2"}.get(path.suffix, "aac")
    copied = ["-map", "0", "-map", "1", "-c:v", "copy", "-c:a", sound]
    ffmpeg("-f", "vc1test", "-i", raw, *tone(0.8, 44100), *copied, path)


def small_pictures(path):
    """Every frame as the FFmpeg binary shows it, 48 by 32 grey samples: uint8 (N, 32, 48)."""
    filters = ["-fps_mode", "passthrough", "-vf", "scale=48:32,format=gray", "-f", "rawvideo", "-"]
    command = [ffmpeg_binary(), "-v", "error", "-i", str(path), "-map", "0:V:0", *filters]
    done = subprocess.run(command, capture_output=True, check=False)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, 32, 48).astype(int)


def carried_whole(clips, tmp_path, codec, suffix, tag, output_suffix=".mp4"):
    source = clips.path(clip_of(codec, suffix, tag))
    carried = carry(source, tmp_path / f"out{output_suffix}")
    assert carried.media.video.codec == codec
    before, after = small_pictures(source), small_pictures(carried.output)
    assert len(before) == len(after) == carried.index.frames >= 19
    assert np.abs(before - after).mean() < 4
    assert len(witness.sounds(carried.output)) == 1
    return carried


def test_every_codec_on_the_list_has_a_file():
    assert set(CODEC_ROWS) == VIDEO_CODECS


def test_the_list_holds_names_of_codecs_not_of_decoders():
    decoded = set()
    for name in av.codecs_available:
        with contextlib.suppress(ValueError):  # an encoder only
            decoded.add(av.Codec(name, "r").canonical_name)
    assert decoded >= VIDEO_CODECS


@pytest.mark.parametrize("codec", CODEC_ROWS)
def test_every_codec_on_the_list_is_carried_whole(clips, tmp_path, codec):
    carried_whole(clips, tmp_path, codec, CODEC_ROWS[codec][0], "")


@pytest.mark.parametrize(
    ("codec", "suffix", "tag"),
    [pytest.param(*row, marks=[] if row in IN_SHORT else pytest.mark.full) for row in NAME_ROWS],
    ids=lambda value: value.strip(".") or "own",
)
def test_a_codec_under_its_other_names(clips, tmp_path, codec, suffix, tag):
    carried_whole(clips, tmp_path, codec, suffix, tag)


def test_sound_is_named_by_its_codec_too(clips):
    names = {
        name: probe(clips.path(CLIPS[name]), LIMITS).audio[0].codec
        for name in ("mkv_mp3", "mpegts_mp2", "mkv_h264_opus", "five_one_ac3")
    }
    assert names == {"mkv_mp3": "mp3", "mpegts_mp2": "mp2", "mkv_h264_opus": "opus", "five_one_ac3": "ac3"}
