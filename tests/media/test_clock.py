"""A clock that jumps is told as that and where, a video that is too long as too long; holes in a stream are passed."""

from __future__ import annotations

import re

import pytest

from faceflow.errors import MediaError
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from faceflow.settings import LimitSettings
from tests.clips import AAC, X264, ffmpeg, picture, tone
from tests.media.pipeline import LIMITS, carry

HOUR_S = 3600


def recorded(folder, number, begin_s, codecs=(*X264, *AAC), suffix=".ts"):
    path = folder / f"piece{number}{suffix}"
    ffmpeg(*picture(1), *tone(1, 44100), *codecs, "-output_ts_offset", str(begin_s), "-muxdelay", "0", path)
    return path


def in_one_file(folder, begin_s, codecs=(*X264, *AAC), suffix=".ts"):
    """Recordings of a second that begin at these times of the recorder's clock, one behind the other."""
    pieces = [recorded(folder, number, each, codecs, suffix).read_bytes() for number, each in enumerate(begin_s)]
    head = 13 if suffix == ".flv" else 0  # else it were two files
    path = folder / f"whole{suffix}"
    path.write_bytes(pieces[0] + b"".join(piece[head:] for piece in pieces[1:]))
    return path


def refused(path, limits=LIMITS):
    with pytest.raises(MediaError) as caught:
        index_frames(path, probe(path, limits), limits)
    return caught.value


MPEG2 = ("-c:v", "mpeg2video", "-c:a", "mp2")
FLASH = ("-c:v", "flv", "-c:a", "libmp3lame")
JUMPS = {
    "ts_back": ((2 * HOUR_S, HOUR_S), (*X264, *AAC), ".ts", "back", HOUR_S + 1),
    "ts_ahead": ((0, 6 * HOUR_S), (*X264, *AAC), ".ts", "ahead", 6 * HOUR_S - 1),
    "ps_back": ((2 * HOUR_S, HOUR_S), MPEG2, ".mpg", "back", HOUR_S + 1),
    "ps_ahead": ((0, 6 * HOUR_S), MPEG2, ".mpg", "ahead", 6 * HOUR_S - 1),
    "flv_ahead": ((0, 6 * HOUR_S), FLASH, ".flv", "ahead", 6 * HOUR_S - 1),
}


@pytest.mark.parametrize("row", JUMPS)
def test_a_clock_that_jumps_is_told(tmp_path, row):
    begin_s, codecs, suffix, way, by_s = JUMPS[row]
    error = refused(in_one_file(tmp_path, begin_s, codecs, suffix))
    assert error.code == "media.timestamps"
    told = re.search(rf"jumps {way} by ([\d.]+) s after ([\d.]+) s", error.message)
    assert told is not None, error.message
    assert abs(float(told[1]) - by_s) < 1
    assert abs(float(told[2]) - 1) < 0.3 and abs(error.fields["at_s"] - 1) < 0.3
    assert "Cut the video there" in error.resolution


def test_frames_that_jump_are_told_where_no_length_is_stated(tmp_path):
    """The length that this file states is within the limit; that of its frames is not."""
    path = in_one_file(tmp_path, (0, HOUR_S))
    media = probe(path, LIMITS)
    with pytest.raises(MediaError) as caught:
        index_frames(path, media, LimitSettings(max_duration_s=600))
    assert caught.value.code == "media.timestamps"
    assert "jumps ahead by 3599" in caught.value.message


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_a_video_that_is_too_long_is_too_long(tmp_path, suffix):
    path = tmp_path / f"long{suffix}"
    ffmpeg("-f", "lavfi", "-i", "testsrc=rate=1/60:duration=18000:size=64x48", *X264, path)
    assert refused(path).code == "media.too_long"


@pytest.mark.parametrize("hole_bytes", [1000, 70_000, 300_000])
def test_a_hole_in_a_transport_stream_is_passed(tmp_path, hole_bytes):
    """Zeros where a disk or a satellite gave nothing; FFmpeg stops at them and wants to be asked again."""
    pieces = [recorded(tmp_path, number, number) for number in range(2)]
    path = tmp_path / "hole.ts"
    path.write_bytes(bytes(hole_bytes).join(piece.read_bytes() for piece in pieces))
    carried = carry(path, tmp_path / "out.mp4")
    assert carried.index.frames == 50 and carried.index.left_out == {}
