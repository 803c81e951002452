"""Every pixel format that FFmpeg encodes in a container we read, through the whole road of a job's media.

The colours of bars in the result are compared with those that ffmpeg itself, another version than the one inside, shows
of the source; a patch that is pasted as a face would be has the colours that it was given.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from functools import cache

import numpy as np
import pytest

from faceflow.errors import MediaError
from faceflow.media.colour import Bytes
from faceflow.media.formats import is_floating, samples_of
from faceflow.media.paste import paste
from faceflow.media.probe import probe
from faceflow.settings import LimitSettings
from tests.clips import ffmpeg, ffmpeg_binary
from tests.media import bars
from tests.media.pipeline import carry

PATCH = (60, 150, 215)
"""B, G, R: a light skin."""

# Encoder: containers, its further options. Only encoders of codecs that are read, and one of each that run here.
ENCODERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ffv1": ((".mkv", ".avi", ".mov"), ("-strict", "-2", "-level", "3")),
    "ffvhuff": ((".mkv", ".avi"), ()),
    "huffyuv": ((".avi",), ()),
    "utvideo": ((".avi", ".mkv"), ()),
    "magicyuv": ((".avi", ".mkv"), ()),
    "png": ((".mov", ".mkv"), ()),
    "qtrle": ((".mov",), ()),
    "rawvideo": ((".avi", ".mov", ".mkv"), ()),
    "v210": ((".mov",), ()),
    "cfhd": ((".mov",), ()),
    "jpeg2000": ((".mov", ".mkv"), ()),
    "libopenjpeg": ((".mov",), ("-cinema_mode", "off")),
    "prores_ks": ((".mov",), ()),
    "prores_aw": ((".mov",), ()),
    "dnxhd": ((".mov",), ()),
    "dvvideo": ((".avi",), ()),
    "libx264": ((".mp4", ".mkv"), ("-preset", "ultrafast", "-crf", "10")),
    "libx264rgb": ((".mkv",), ("-preset", "ultrafast", "-crf", "10")),
    "libx265": ((".mp4", ".mkv"), ("-preset", "ultrafast", "-crf", "12", "-x265-params", "log-level=none")),
    "libvpx": ((".webm",), ("-b:v", "2M", "-auto-alt-ref", "0")),
    "libvpx-vp9": (
        (".webm", ".mp4"),
        ("-lossless", "1", "-cpu-used", "8", "-deadline", "realtime", "-auto-alt-ref", "0"),
    ),
    "libaom-av1": ((".mp4", ".mkv"), ("-cpu-used", "9", "-usage", "realtime", "-crf", "15")),
    "libsvtav1": ((".mp4",), ("-preset", "12", "-crf", "15")),
    "libtheora": ((".mkv",), ("-q:v", "10")),
    "libvvenc": ((".mp4",), ("-preset", "faster", "-qp", "15")),
    "mjpeg": ((".avi", ".mov"), ("-q:v", "2", "-strict", "-1")),
    "mpeg1video": ((".mpg",), ("-q:v", "2")),
    "mpeg2video": ((".mkv", ".ts"), ("-q:v", "2")),
    "mpeg4": ((".mp4",), ("-q:v", "2")),
    "msmpeg4v2": ((".avi",), ("-q:v", "2")),
    "msmpeg4": ((".avi",), ("-q:v", "2")),
    "wmv1": ((".asf",), ("-q:v", "2")),
    "wmv2": ((".asf",), ("-q:v", "2")),
    "flv": ((".flv",), ("-q:v", "2")),
    "h263": ((".mov",), ("-q:v", "2")),
}
NOT_READ = [
    ("jpeg2000", "yuv440p10le", ".mov"),
    ("jpeg2000", "yuv440p12le", ".mkv"),
    ("libvpx-vp9", "yuv440p", ".mp4"),
    ("libvpx-vp9", "yuv440p12le", ".mp4"),
    ("ffv1", "bayer_rggb16le", ".mkv"),
]
"""What this ffmpeg writes and the decoders inside, of an older version, do not know, or MP4 has no words for."""

_TELL = (ffmpeg_binary(), "-hide_banner")
_DNXHD = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444", "gbrp10le": "dnxhr_444"}
_DV_SIZES = {"yuv411p": (720, 480), "yuv420p": (720, 576), "yuv422p": (720, 576)}


@cache
def formats_of(encoder: str) -> tuple[str, ...]:
    """The pixel formats that an encoder takes, as ffmpeg lists them; of raw video every one that there is."""
    if encoder == "rawvideo":
        listed = subprocess.run(
            [ffmpeg_binary(), "-hide_banner", "-pix_fmts"], capture_output=True, text=True, check=True
        )
        return tuple(re.findall(r"^[I.][O.][.][P.][B.] (\w+)", listed.stdout, re.MULTILINE))
    arguments = [ffmpeg_binary(), "-hide_banner", "-h", f"encoder={encoder}"]
    text = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Supported pixel formats: (.*)", text)
    return tuple(found[1].split()) if found else ()


def size_of(encoder: str, pixel_format: str) -> tuple[int, int]:
    return _DV_SIZES[pixel_format] if encoder == "dvvideo" else (352, 288)


def encoded(folder, encoder: str, pixel_format: str, suffix: str):
    """A clip of two frames of bars. Raises Unwritable."""
    width, height = size_of(encoder, pixel_format)
    raw, clip, form = folder / "bars.raw", folder / f"clip{suffix}", "rgb24"
    one = bars.picture(width, height).tobytes()
    if pixel_format.startswith("bayer_"):  # which ffmpeg reads, but does not make
        one, form = bytes(bars.frame_of(pixel_format, width, height).planes[0]), pixel_format
    raw.write_bytes(one * 2)
    steps = "null" if form == pixel_format else f"scale={bars.EXACT},format={pixel_format}"
    if pixel_format == "pal8":
        steps = "split[a][b];[a]palettegen=max_colors=32[p];[b][p]paletteuse=dither=none"
    rate = "30000/1001" if encoder in {"h263"} or (encoder, height) == ("dvvideo", 480) else "25"
    options = [*ENCODERS[encoder][1]]
    if encoder == "ffv1":
        options[-1] = "4" if pixel_format.startswith("bayer_") or is_floating(pixel_format) else "3"
    if encoder == "dnxhd":
        options += ["-profile:v", _DNXHD[pixel_format]]
    if encoder == "prores_ks":
        options += ["-profile:v", "4" if "444" in pixel_format else "3"]
    if encoder == "libopenjpeg":
        options = []
    try:
        ffmpeg(
            *("-f", "rawvideo", "-pix_fmt", form, "-s", f"{width}x{height}", "-r", rate, "-i", raw),
            *("-vf", steps, "-c:v", encoder, *options, clip),
        )
    except AssertionError as error:
        raise Unwritable(f"this ffmpeg does not write it: {str(error).strip().splitlines()[-1]}") from error
    if read_as(clip) is None:
        raise Unwritable("ffmpeg does not read its own file")
    if encoder == "rawvideo" and read_as(clip) != pixel_format:
        raise Unwritable(f"the container has no place for the format: ffmpeg itself reads {read_as(clip)}")
    return clip, width, height


class Unwritable(Exception):
    """A combination that this ffmpeg lists but does not write."""


def read_as(clip) -> str | None:
    """The pixel format in which ffmpeg reads a clip."""
    told = subprocess.run([*_TELL, "-i", str(clip)], capture_output=True, text=True, check=False).stderr
    found = re.search(r"Video: [^,]*(?:\([^)]*\))*, (\w+)", told)
    return found[1] if found else None


def paste_patch(frame) -> None:
    """Pastes a flat patch into the lowest fifth of a frame, as faces are pasted."""
    top = round(frame.height_px * 0.8)
    rows, columns = frame.height_px - top, frame.width_px
    pixels: Bytes = np.empty((rows, columns, 3), np.uint8)
    pixels[:] = PATCH
    mask = np.full((rows, columns), 255, np.uint8)
    paste(frame, np.array([[1, 0, 0], [0, 1, -top]], np.float32), pixels, mask)


def outcome(folder, encoder: str, pixel_format: str, suffix: str) -> str:
    """`right`, the code of a refusal, or what is wrong."""
    clip, width, height = encoded(folder, encoder, pixel_format, suffix)
    output = folder / "out.mkv"
    try:
        carried = carry(clip, output, compose=paste_patch)
    except MediaError as error:
        return error.code
    shown = bars.shown_by_ffmpeg(output, width, height)
    # ffmpeg takes frames whose matrix nobody states for BT.601, as faceflow does below 720 rows.
    wanted = bars.middles(bars.shown_by_ffmpeg(clip, width, height))
    video = carried.media.video
    if samples_of(video.pixel_format).kind == "gray" and video.colour.colour_range == 1:
        wanted = np.clip((wanted - 16) * 255 / 219, 0, 255)  # by H.273; ffmpeg shows any gray as full range
    wrong = bars.same_colours(bars.middles(shown), wanted, 14)
    if wrong is not None:
        return f"{wrong} ({video.pixel_format} as {carried.mezzanine_media.video.pixel_format})"
    patch = bars.middles(shown, 0.88, 0.96)
    blue, green, red = PATCH
    expected = np.tile([red, green, blue], (len(patch), 1)).astype(float)
    if carried.mezzanine_media.video.pixel_format.startswith("gray"):
        expected[:] = (expected @ (0.299, 0.587, 0.114))[:, None]
    wrong = bars.same_colours(patch, expected, 14)
    return "right" if wrong is None else f"the patch: {wrong}"


REPRESENTATIVES = [
    ("prores_ks", "yuv444p10le", ".mov"),
    ("libx265", "yuv444p12le", ".mp4"),
    ("ffv1", "yuva444p", ".mkv"),
    ("qtrle", "rgb555be", ".mov"),
    ("libopenjpeg", "xyz12le", ".mov"),
    ("ffv1", "gray16le", ".mkv"),
    ("magicyuv", "gray", ".avi"),
    ("png", "pal8", ".mov"),
]


@pytest.mark.parametrize(("encoder", "pixel_format", "suffix"), REPRESENTATIVES)
def test_colours_survive_the_whole_road(tmp_path, encoder, pixel_format, suffix):
    assert outcome(tmp_path, encoder, pixel_format, suffix) == "right"


@pytest.mark.parametrize(("encoder", "pixel_format", "suffix"), NOT_READ)
def test_a_form_of_a_codec_that_is_not_read_is_told_as_that(tmp_path, encoder, pixel_format, suffix):
    """Not as damage: exporting the video again the same way would not help."""
    try:
        clip, _, _ = encoded(tmp_path, encoder, pixel_format, suffix)
    except Unwritable:
        assert suffix == ".mp4"  # ffmpeg reads no description of 4:4:0 either
        clip = tmp_path / f"clip{suffix}"
    with pytest.raises(MediaError, match=r"a variant of the video codec") as told:
        probe(clip, LimitSettings())
    assert told.value.code == "media.codec_unsupported"


@pytest.mark.full
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_format_of_an_encoder_has_right_colours_or_a_refusal(tmp_path, encoder):
    wrong, tried = [], 0
    for pixel_format, suffix in itertools.product(formats_of(encoder), ENCODERS[encoder][0]):
        folder = tmp_path / f"{pixel_format}{suffix}"
        folder.mkdir()
        try:
            result = outcome(folder, encoder, pixel_format, suffix)
        except Unwritable:
            continue
        finally:
            shutil.rmtree(folder)
        tried += 1
        if result not in {"right", "media.codec_unsupported"}:
            wrong.append(f"{pixel_format} in {suffix}: {result}")
    assert tried
    assert not wrong, "\n".join(wrong)
