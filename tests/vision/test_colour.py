"""Planes to BGR and back: known colours, small errors, and nothing touched outside the mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceflow.media.colour import crop_bgr, small_bgr
from faceflow.media.facts import ColourTags
from faceflow.media.paste import paste
from tests.vision.conftest import copy_of, native

FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "yuv422p12le", "gbrp", "gbrp10le", "yuvj420p"]
TAGS = [ColourTags(), ColourTags(matrix=1, colour_range=2), ColourTags(matrix=9), ColourTags(matrix=6)]
STRAIGHT = np.array([[1, 0, 0], [0, 1, 0]], np.float32)


def smooth_picture(rows=96, columns=128, seed=3):
    """Chroma that 4:2:0 can carry."""
    noise = np.random.default_rng(seed).integers(0, 255, (rows // 16, columns // 16, 3), np.uint8)
    return cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("tags", TAGS, ids=lambda tags: f"matrix{tags.matrix}-range{tags.colour_range}")
def test_crop_shows_the_colours_that_the_tags_mean(pixel_format, tags):
    if pixel_format.startswith("yuvj"):
        tags = tags.model_copy(update={"colour_range": 2})
    picture = smooth_picture()
    crop = crop_bgr(native(picture, pixel_format, tags), STRAIGHT, 96)
    error = np.abs(crop.astype(int) - picture[:, :96])[2:-2, 2:-2]
    assert error.mean() < 1.2
    assert np.percentile(error, 99) <= 6


def test_an_untagged_frame_is_bt601_below_720_rows_and_bt709_from_there():
    green = np.zeros((720, 64, 3), np.uint8)
    green[:] = (40, 200, 60)
    for rows in (718, 720):
        shown = crop_bgr(native(green[:rows], "yuv444p"), STRAIGHT, 32)
        assert np.abs(shown.astype(int) - (40, 200, 60)).max() <= 2


@pytest.mark.parametrize("moved_only", [False, True])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_whole_mask_takes_the_crop_and_nothing_outside_changes(pixel_format, moved_only):
    picture = smooth_picture(97, 131) if "420" not in pixel_format else smooth_picture(96, 130)
    frame = native(picture, pixel_format)
    before = copy_of(frame)
    angle, scale = 0.3, 1.4
    matrix = np.array(
        [[scale * np.cos(angle), scale * np.sin(angle), -30], [-scale * np.sin(angle), scale * np.cos(angle), -10]],
        np.float32,
    )
    if moved_only:
        matrix = np.array([[1, 0, -31], [0, 1, -10]], np.float32)
    side = 64
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (32, 32), 24, 255, -1)
    wanted = np.full((side, side, 3), (90, 120, 200), np.uint8)
    left, top, right, bottom = paste(frame, matrix, wanted, mask)
    pasted = crop_bgr(frame, matrix, side)
    core = cv2.erode(mask, np.ones((13, 13), np.uint8)) > 0
    assert np.abs(pasted[core].astype(int) - (90, 120, 200)).max() <= 6
    grid = cv2.warpAffine(
        mask, matrix, (frame.width_px, frame.height_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    for number, (new, old) in enumerate(zip(frame.planes, before.planes, strict=True)):
        step_x, step_y = (1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y) if number else (1, 1)
        changed = new != old
        outside = np.ones_like(changed)
        outside[top // step_y : -(-bottom // step_y), left // step_x : -(-right // step_x)] = False
        assert not (changed & outside).any()
        grown = cv2.dilate((grid > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        support = cv2.resize(grown, (new.shape[1], new.shape[0]), interpolation=cv2.INTER_AREA) > 0
        assert not (changed & ~support).any()
        assert changed.any()


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv444p", "gbrp", "gray"])
def test_pasting_the_own_crop_or_an_empty_mask_changes_no_sample(pixel_format):
    picture = np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8)  # noise: worst case for a round trip
    frame = native(picture, pixel_format) if pixel_format != "gray" else native(picture, "yuv444p")
    if pixel_format == "gray":
        frame.planes, frame.pixel_format = frame.planes[:1], "gray"
    before = copy_of(frame)
    matrix = np.array([[0.8, 0.1, 3], [-0.1, 0.8, 12]], np.float32)
    paste(frame, matrix, crop_bgr(frame, matrix, 64), np.full((64, 64), 200, np.uint8))
    paste(frame, matrix, np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8))
    assert all((new == old).all() for new, old in zip(frame.planes, before.planes, strict=True))


@pytest.mark.parametrize("location", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_adding_sample_by_sample_is_what_warping_comes_to(pixel_format, location):
    tags = ColourTags(matrix=1, colour_range=1, chroma_location=location)
    frames = [native(smooth_picture(96, 130), pixel_format, tags) for _ in range(2)]
    mask = np.zeros((64, 64), np.uint8)
    cv2.ellipse(mask, (32, 32), (20, 26), 0, 0, 360, 255, -1)
    wanted = cv2.resize(smooth_picture(32, 32), (64, 64))[::-1]
    for frame, more in zip(frames, (0, 1e-3), strict=True):
        matrix = np.array([[1, 0, -20 + more], [0, 1, -14]], np.float32)
        paste(frame, matrix, wanted, mask)
    unit = 1 << (frames[0].bit_depth - 8)
    for direct, warped in zip(frames[0].planes, frames[1].planes, strict=True):
        apart = np.abs(direct.astype(int) - warped)
        assert apart.max() <= 2 * unit
        assert apart.mean() < 0.1 * unit


@pytest.mark.parametrize("odd", [(97, 131), (96, 131), (97, 130)])
def test_odd_sides_and_faces_beyond_the_border(odd):
    frame = native(smooth_picture(112, 144)[: odd[0], : odd[1]], "yuv420p")
    for shift in ((0, 0), (-90, -60), (40, 40), (500, 500)):
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        left, top, right, bottom = paste(
            frame, matrix, np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8)
        )
        assert 0 <= left <= right <= frame.width_px
        assert 0 <= top <= bottom <= frame.height_px


def test_a_small_copy_of_a_large_frame():
    picture = smooth_picture(720, 1280)
    small, scale = small_bgr(native(picture, "yuv420p10le"), 640)
    assert small.shape == (360, 640, 3)
    assert scale == 0.5
    assert np.abs(small.astype(int) - cv2.resize(picture, (640, 360), interpolation=cv2.INTER_AREA)).mean() < 1.5
    tiny, scale = small_bgr(native(picture[:32, :48], "yuv420p"), 640)
    assert tiny.shape == (32, 48, 3)
    assert scale == 1.0
