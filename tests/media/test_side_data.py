"""What frames carry beside their samples and lose when they are encoded again: counted, told, no obstacle."""

from __future__ import annotations

import subprocess

import pytest
from av.sidedata.sidedata import Type

from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from faceflow.media.side_data import LostSideData
from tests.clips import X264, ffmpeg, ffmpeg_binary, picture, simple, x265
from tests.media.pipeline import LIMITS, carry
from tests.pictures.samples import exif_bytes, jpeg_bytes

CAPTIONS = bytes.fromhex("b5003147413934037fff") + b"\xfc\x80\x80" * 31 + b"\xff"
HLG10 = ["-pix_fmt", "yuv420p10le"]


def lost(path):
    media, found = probe(path, LIMITS), LostSideData()
    index_frames(path, media, LIMITS, on_frame=found.see)
    return found.notes()


def with_message(folder, payload, frames):
    """A clip whose first frames carry a registered user message (SEI) in front of their slices."""
    stream = folder / "plain.h264"
    ffmpeg(*picture(0.4), *X264, "-x264-params", "slices=1:aud=1", stream)
    message = b"\0\0\1\x06\x04" + bytes([len(payload)]) + escaped(payload) + b"\x80"
    units = stream.read_bytes().split(b"\0\0\0\1\x09")  # one an access unit
    made = [unit[:1] + message + unit[1:] if 0 < number <= frames else unit for number, unit in enumerate(units)]
    stream.write_bytes(b"\0\0\0\1\x09".join(made))
    path = folder / "message.mp4"
    ffmpeg("-r", "25", "-i", stream, "-c", "copy", path)
    return path


def escaped(payload):
    return payload.replace(b"\0\0", b"\0\0\3")


@pytest.mark.parametrize(("frames", "words"), [(1, "1 frame"), (4, "4 frames")])
def test_captions_are_counted(tmp_path, frames, words):
    path = with_message(tmp_path, CAPTIONS, frames)
    assert lost(path) == (f"lost in encoding: closed captions ({words})",)
    assert lost(carry(path, tmp_path / "out.mp4").output) == ()


def test_the_mark_of_a_3d_picture_is_told(tmp_path):
    path = tmp_path / "sides.mp4"
    ffmpeg(*picture(0.4), *X264, "-x264-params", "frame-packing=3", path)
    at_its_key_frame = "lost in encoding: the 3D video marker (1 frame)"
    assert lost(path) == (at_its_key_frame,)
    assert lost(carry(path, tmp_path / "out.mp4").output) == ()


def test_what_is_carried_is_not_told(clips):
    hdr10 = simple("static_hdr", ".mp4", *x265("master-display=G(13250,34500)B(7500,3000)R(34000,16000)"
                   "WP(15635,16450)L(10000000,50)", "max-cll=1000,400"), *HLG10, seconds=0.4)  # fmt: skip
    assert lost(clips.path(hdr10)) == ()


class Frame:
    def __init__(self, *kinds):
        self.side_data = [type("Data", (), {"type": kind}) for kind in kinds]


def test_each_kind_is_told_once_in_a_fixed_order():
    found = LostSideData()
    found.see(0, Frame(Type.SPHERICAL, Type.DOVI_RPU_BUFFER, Type.DOVI_METADATA, Type.SEI_UNREGISTERED))
    found.see(1, Frame(Type.DOVI_METADATA, Type.DYNAMIC_HDR_PLUS, Type.MASTERING_DISPLAY_METADATA))
    assert found.notes() == (
        "lost in encoding: Dolby Vision metadata (2 frames)",
        "lost in encoding: HDR10+ metadata (1 frame)",
        "lost in encoding: the 360-degree video marker (1 frame)",
    )


def test_kinds_that_the_library_has_no_name_for_do_not_stop_a_job(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg_bytes(exif=b"Exif\0\0" + exif_bytes(orientation=6)))
    path = tmp_path / "exif.mov"
    command = [ffmpeg_binary(), "-loglevel", "error", "-i", str(tmp_path / "%d.jpg"), "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    assert probe(path, LIMITS).video.rotation_degrees == 90
    assert lost(path) == ()
    assert isinstance(Type(31).value, int)
