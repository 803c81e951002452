"""What re-encoding would drop: colour, aspect, HDR metadata, languages, chapters; and the fate of every track."""

from __future__ import annotations

import av
import pytest

from tests.clips import CLIPS
from tests.media import witness
from tests.media.pipeline import carry

TAGGED = (
    "plain", "hdr10", "hlg", "full_range", "tagged_601", "anamorphic", "ten_bit_h264", "ten_bit_444", "ten_bit_422",
    "yuv422", "yuv444", "odd_mjpeg", "mov_prores", "mov_mjpeg", "mpegts", "interlaced",
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", TAGGED)
def test_colour_aspect_and_hdr_metadata_are_carried(clips, tmp_path, name, suffix):
    source = clips.path(CLIPS[name])
    carried = carry(source, tmp_path / f"out{suffix}")
    before, after = witness.tags(source), witness.tags(carried.output)
    if before["range"] == 0:
        before["range"] = after["range"] if after["range"] == 1 else 0  # HEVC states what H.264 leaves to be understood
    assert after == before


@pytest.mark.parametrize(
    ("name", "codec", "profile", "pixel_format"),
    [
        ("plain", "h264", "High", "yuv420p"),
        ("full_range", "h264", "High", "yuvj420p"),
        ("gray", "h264", "High", "yuvj420p"),
        ("yuv422", "h264", "High 4:2:2", "yuv422p"),
        ("yuv444", "h264", "High 4:4:4 Predictive", "yuv444p"),
        ("hdr10", "hevc", "Main 10", "yuv420p10le"),
        ("ten_bit_h264", "hevc", "Main 10", "yuv420p10le"),
        ("ten_bit_422", "hevc", "Rext", "yuv422p10le"),
        ("ten_bit_444", "hevc", "Rext", "yuv444p10le"),
    ],
)
def test_every_depth_and_sampling_has_its_profile(clips, tmp_path, name, codec, profile, pixel_format):
    from faceflow.job import SpeedPreset
    from tests.media.pipeline import ENCODING

    encoding = ENCODING.model_copy(update={"preset": SpeedPreset.VERYFAST})
    carried = carry(clips.path(CLIPS[name]), tmp_path / "out.mp4", encoding=encoding)
    with av.open(str(carried.output)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile, context.pix_fmt) == (codec, profile, pixel_format)
        if codec == "hevc":
            assert context.codec_tag == "hvc1"  # what Apple's players ask for


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("name", ["tongues_mp4", "tongues_mkv"])
def test_languages_titles_chapters_and_subtitles(clips, tmp_path, name, suffix):
    source = clips.path(CLIPS[name])
    carried = carry(source, tmp_path / f"out{suffix}")
    with av.open(str(source)) as before, av.open(str(carried.output)) as after:
        spoken = [stream.language for stream in before.streams.audio]
        expected = ["ger", "fra"] if suffix == ".mov" else ["deu", "fra"]  # QuickTime has numbers, read as older codes
        assert spoken == ["deu", "fra"]
        assert [stream.language for stream in after.streams.audio] == expected
        assert after.streams.video[0].language == before.streams.video[0].language
        assert after.metadata["title"] == before.metadata["title"] == "Two tongues"
        chapters = [chapter["metadata"]["title"] for chapter in after.chapters()]
        assert chapters == ["One", "Two"]
        same_family = (name == "tongues_mkv") == (suffix == ".mkv")
        assert len(after.streams.subtitles) == (1 if same_family else 0)
        left_out = [note for note in carried.notes if note.startswith("subtitle track")]
        assert len(left_out) == (0 if same_family else 1)
        if same_family:
            assert _texts(before) == _texts(after)
            assert after.streams.subtitles[0].language == expected[0]


def _texts(container):
    stream = container.streams.subtitles[0]
    return [(packet.pts * stream.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size > 2]


def test_a_cover_picture_is_not_taken_for_the_video_and_is_noted(clips, tmp_path):
    carried = carry(clips.path(CLIPS["cover"]), tmp_path / "out.mp4")
    assert carried.index.frames == 40
    assert [note for note in carried.notes if "left out" in note] == [
        "cover picture (track 2, png) was left out: it may show the original face"
    ]


def test_sound_that_the_container_cannot_carry_is_encoded_and_noted(clips, tmp_path):
    carried = carry(clips.path(CLIPS["avi_mjpeg_adpcm"]), tmp_path / "out.mp4")
    with av.open(str(carried.output)) as container:
        assert container.streams.audio[0].codec.canonical_name == "aac"
    assert [note for note in carried.notes if "re-encoded as AAC" in note]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("interlaced", "it was deinterlaced"),
        ("mov_prores_4444", "its transparency was dropped"),
        ("twelve_bit", "pixel format yuv420p12le was converted to yuv420p10le"),
        ("gbrp", "pixel format gbrp was converted to yuv444p"),
        ("mpegts", "in mpegts files"),
        ("avi_mpeg4_mp3", "in avi files"),
    ],
)
def test_the_entrance_says_why_it_normalises(clips, tmp_path, name, reason):
    carried = carry(clips.path(CLIPS[name]), tmp_path / "out.mp4")
    assert any(reason in given for given in carried.reasons)
    assert not carried.mezzanine_media.video.interlaced


@pytest.mark.parametrize("name", ["plain", "vfr", "hdr10", "rotated_90", "odd_vp9", "yuv444"])
def test_what_fits_is_not_normalised(clips, tmp_path, name):
    carried = carry(clips.path(CLIPS[name]), tmp_path / "out.mp4")
    assert carried.reasons == ()
