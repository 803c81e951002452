"""A picture that is described anew in the middle: refused where viewers would see it, else carried.

Fields that begin later than the first frame are deinterlaced all the same.
"""

from __future__ import annotations

import numpy as np
import pytest

from faceflow.errors import MediaError
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from tests.clips import CLIPS, X264, ffmpeg, picture, x265
from tests.media import witness
from tests.media.pipeline import LIMITS, carry
from tests.media.test_codecs import small_pictures

HALF_S = 1


def tagged(matrix, primaries, transfer, colour_range="tv"):
    stated = f"colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range={colour_range}"
    return ["-vf", f"setparams={stated}"]


BT709 = tagged("bt709", "bt709", "bt709")
PAL = tagged("bt470bg", "bt470bg", "bt709")
NTSC = tagged("smpte170m", "smpte170m", "smpte170m")
WIDE = tagged("bt2020nc", "bt2020", "arib-std-b67")


def in_halves(folder, first, second, codec=X264):
    """Two transport streams, one behind the other in time and in one file."""
    whole = folder / "whole.ts"
    with whole.open("wb") as file:
        for number, arguments in enumerate((first, second)):
            part = folder / f"half{number}.ts"
            later = ["-output_ts_offset", str(number * HALF_S), "-muxdelay", "0"]
            ffmpeg(*picture(HALF_S), *codec, *arguments, *later, part)
            file.write(part.read_bytes())
    return whole


def indexed(path):
    return index_frames(path, probe(path, LIMITS), LIMITS)


REFUSED = {
    "matrix": (BT709, NTSC, "colour matrix changes from 1 to 6"),
    "range": (BT709, tagged("bt709", "bt709", "bt709", "pc"), "colour range changes from 1 to 2"),
    "transfer": (BT709, tagged("bt709", "bt709", "smpte2084"), "transfer curve changes from 1 to 16"),
    "primaries": (BT709, tagged("bt709", "smpte432", "bt709"), "colour primaries changes from 1 to 12"),
    "hdr_begins": ([], WIDE, "colour matrix changes from 6 to 9"),
    "hdr_ends": (WIDE, BT709, "colour matrix changes from 9 to 1"),
    "aspect": (["-vf", "setsar=16/15"], ["-vf", "setsar=64/45"], "sample aspect ratio changes from 16/15 to 64/45"),
    "aspect_begins": ([], ["-vf", "setsar=4/3"], "sample aspect ratio changes from 1 to 4/3"),
}


@pytest.mark.parametrize("codec", ["libx264", pytest.param("libx265", marks=pytest.mark.full)])
@pytest.mark.parametrize("row", REFUSED)
def test_a_change_that_is_seen_is_refused(tmp_path, codec, row):
    first, second, words = REFUSED[row]
    path = in_halves(tmp_path, first, second, X264 if codec == "libx264" else x265())
    with pytest.raises(MediaError) as caught:
        indexed(path)
    if row == "range" and caught.value.code == "media.size_changes":
        return  # yuv420p to yuvj420p: FFmpeg tells the same as another format
    assert caught.value.code == "media.picture_changes"
    assert words in caught.value.message
    assert abs(caught.value.fields["frame"] - 25) <= 4


@pytest.mark.parametrize(
    ("first", "second"),
    [(NTSC, PAL), ([], NTSC), (PAL, []), ([], ["-color_range", "tv"])],
    ids=["ntsc_pal", "begin", "end", "range_begins"],
)
def test_a_change_that_nobody_sees_is_carried(tmp_path, first, second):
    path = in_halves(tmp_path, first, second)
    carried = carry(path, tmp_path / "out.mp4")
    assert carried.index.frames == len(witness.shown_times(carried.output)) == 50
    assert np.abs(small_pictures(path) - small_pictures(carried.output)).mean() < 3


def half_in_fields(folder, codec):
    """A white bar that moves: a second of frames, then a second of fields."""
    whole = folder / "whole.ts"
    with whole.open("wb") as file:
        for number, rate in enumerate((25, 50)):
            part = folder / f"half{number}.ts"
            colours = [f"color={name}:rate={rate}:duration={HALF_S}:size=" for name in ("black", "white")]
            inputs = ["-f", "lavfi", "-i", f"{colours[0]}192x96", "-f", "lavfi", "-i", f"{colours[1]}24x96"]
            weave = ",tinterlace=interleave_top,fieldorder=tff,setfield=tff" if number else ""
            fields = ["-flags", "+ilme+ildct", *(["-x264-params", "tff=1"] if codec == "libx264" else [])]
            ffmpeg(
                *inputs, "-filter_complex", f"[0][1]overlay=x=150*t:shortest=1{weave},format=yuv420p",
                "-c:v", codec, "-g", "12", "-qmax", "4", *(fields if number else []),
                "-output_ts_offset", str(number * (HALF_S + 0.2)), "-muxdelay", "0", part,
            )  # fmt: skip
            file.write(part.read_bytes())
    return whole


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_fields_that_begin_later_are_deinterlaced(tmp_path, codec):
    whole = half_in_fields(tmp_path, codec)
    assert not probe(whole, LIMITS).video.interlaced
    carried = carry(whole, tmp_path / "out.mp4")
    assert 20 < carried.index.interlaced <= carried.index.frames - 25
    assert any("interlaced frames were deinterlaced" in reason for reason in carried.reasons)
    assert combing(carried.output)[30:].max() < 0.5 * combing(whole)[30:].max()


def combing(path):
    """How much each frame's odd lines differ from the lines around them: float (N,)."""
    frames = [frame.to_ndarray(format="gray").astype(float) for _, frame in witness.decoded_frames(path)]
    return np.array([np.abs(f[1:-1:2] - (f[0:-2:2] + f[2::2]) / 2).mean() for f in frames])


def test_a_clock_that_jumps_back_is_refused(tmp_path):
    """Two recordings in one file, the later one first: no times repeat, but frames would change places."""
    first, second, path = tmp_path / "first.ts", tmp_path / "second.ts", tmp_path / "both.ts"
    ffmpeg(*picture(HALF_S), *X264, "-output_ts_offset", "20", first)
    ffmpeg(*picture(HALF_S), *X264, second)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(MediaError) as caught:
        indexed(path)
    assert caught.value.code == "media.timestamps"


@pytest.mark.parametrize("name", ["plain", "vfr_mkv", "avi_mpeg4_mp3", "mov_mjpeg", "webm_vp9_opus"])
def test_files_that_were_put_one_after_the_other_are_refused(clips, tmp_path, name):
    source = clips.path(CLIPS[name])
    path = tmp_path / f"both{source.suffix}"
    path.write_bytes(source.read_bytes() * 2)
    with pytest.raises(MediaError) as caught:
        probe(path, LIMITS)
    assert caught.value.code == "media.joined_files"
    assert probe(source, LIMITS).size_bytes * 2 == path.stat().st_size
