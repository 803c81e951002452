"""Frames reach the encoder bit by bit as an independent decoder gives them."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from faceflow.job import SpeedPreset
from faceflow.media.index import index_frames
from faceflow.media.planes import presented_size, video_frame
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader
from tests.clips import CLIPS, ffmpeg_binary
from tests.media.pipeline import ENCODING, LIMITS, carry

FORMATS = (
    "plain", "full_range", "yuv422", "yuv444", "gray", "hdr10", "ten_bit_h264", "ten_bit_422", "ten_bit_444",
    "odd_444", "odd_vp9", "odd_mjpeg", "mp4_av1", "mov_prores", "vfr_mkv", "edit_list", "late_key",
    "rotated_90", "rotated_180", "rotated_270", "mirrored", "mirrored_90", "hevc_open_gop",
)  # fmt: skip


def open_reader(path):
    media = probe(path, LIMITS)
    index = index_frames(path, media, LIMITS)
    return media, index, FrameReader(path, media, index)


def decoded_by_ffmpeg(path, media):
    """Every frame's bytes, turned upright by ffmpeg itself, in the native format."""
    video = media.video
    done = subprocess.run(
        [
            ffmpeg_binary(),
            "-v",
            "error",
            "-i",
            str(path),
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-pix_fmt",
            video.pixel_format,
            "-f",
            "rawvideo",
            "-",
        ],
        capture_output=True,
        check=True,
    )
    return done.stdout


def shown_bytes(frame, media):
    """The planes without the row and column that make odd sizes even."""
    out = []
    for number, plane in enumerate(frame.planes):
        shift_x = frame.chroma_shift_x if number else 0
        shift_y = frame.chroma_shift_y if number else 0
        rows = -(-media.video.height_px >> shift_y) if not shift_y else (media.video.height_px + 1) // 2
        columns = media.video.width_px if not shift_x else (media.video.width_px + 1) // 2
        out.append(np.ascontiguousarray(plane[:rows, :columns]).tobytes())
    return b"".join(out)


@pytest.mark.parametrize("name", FORMATS)
def test_the_reader_gives_what_ffmpeg_decodes(clips, name):
    path = clips.path(CLIPS[name])
    media, index, reader = open_reader(path)
    ours = b"".join(shown_bytes(frame, media) for frame in reader.read(0, index.frames))
    assert ours == decoded_by_ffmpeg(path, media)


@pytest.mark.parametrize("name", ["odd_vp9", "odd_mjpeg", "odd_444", "plain", "rotated_90"])
def test_odd_sides_are_made_even_by_repeating_the_last_row_and_column(clips, name):
    media, _, reader = open_reader(clips.path(CLIPS[name]))
    frame = next(iter(reader.read(0, 1)))
    assert (frame.width_px, frame.height_px) == presented_size(media.video)
    if name.startswith("odd"):
        assert (media.video.width_px, media.video.height_px) == (97, 63)
        assert presented_size(media.video) == ((97, 63) if name == "odd_444" else (98, 64))
    if frame.width_px > media.video.width_px:
        assert np.array_equal(frame.planes[0][:, -1], frame.planes[0][:, -2])
        assert np.array_equal(frame.planes[0][-1], frame.planes[0][-2])


@pytest.mark.parametrize("name", FORMATS)
def test_any_range_equals_the_same_frames_of_the_whole(clips, name):
    _, index, reader = open_reader(clips.path(CLIPS[name]))
    whole = list(reader.read(0, index.frames))
    rng = np.random.default_rng(7)
    firsts = sorted({0, index.frames - 1, *(int(first) for first in rng.integers(0, index.frames, 6))})
    for first in firsts:
        count = min(3, index.frames - first)
        for frame, wanted in zip(reader.read(first, count), whole[first : first + count], strict=True):
            assert (frame.number, frame.pts) == (wanted.number, wanted.pts)
            assert all(np.array_equal(a, b) for a, b in zip(frame.planes, wanted.planes, strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_frames_to_change_belong_to_the_caller_and_reach_the_encoder_unchanged(clips, name):
    _, index, reader = open_reader(clips.path(CLIPS[name]))
    wanted = [[plane.copy() for plane in frame.planes] for frame in reader.read(0, index.frames, writable=False)]
    for frame, planes in zip(reader.read(0, index.frames), wanted, strict=True):
        for index_, (plane, expected) in enumerate(zip(frame.planes, planes, strict=True)):
            assert plane.dtype == (np.uint8 if frame.bit_depth == 8 else np.uint16)
            assert np.array_equal(plane, expected)  # although all frames before it were painted over
            plane[...] = 37 + index_
            handed = np.frombuffer(frame.picture.planes[index_], plane.dtype)
            rows = handed.reshape(-1, frame.picture.planes[index_].line_size // plane.itemsize)
            assert (rows[: plane.shape[0], : plane.shape[1]] == 37 + index_).all()


@pytest.mark.parametrize("name", FORMATS)
def test_frames_to_look_at_cannot_be_changed_and_become_frames_for_an_encoder(clips, name):
    _, _, reader = open_reader(clips.path(CLIPS[name]))
    frame = next(iter(reader.read(0, 1, writable=False)))
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0][0, 0] = 1
    handed = video_frame(frame)
    for number, plane in enumerate(frame.planes):
        target = handed.planes[number]
        raw = np.frombuffer(target, plane.dtype)[: target.height * target.line_size // plane.itemsize]
        assert np.array_equal(raw.reshape(target.height, -1)[:, : target.width], plane)


@pytest.mark.parametrize("name", ["plain", "yuv444", "gray", "yuv422"])
def test_a_lossless_encode_gives_the_frames_back_bit_by_bit(clips, tmp_path, name):
    encoding = ENCODING.model_copy(update={"crf": 0, "preset": SpeedPreset.ULTRAFAST})
    source = clips.path(CLIPS[name])
    carried = carry(source, tmp_path / "out.mp4", encoding=encoding)
    assert decoded_by_ffmpeg(carried.output, carried.media) == decoded_by_ffmpeg(source, carried.media)
