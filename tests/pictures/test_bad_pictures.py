"""Every picture that cannot be used ends in its own error, at once, in little memory."""

import os
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from faceflow.errors import PictureError
from faceflow.media.picture import is_picture, read_picture
from faceflow.settings import LimitSettings
from tests.pictures import samples

LIMITS = LimitSettings()


def broken_pixels_png():
    """Right checksums around a stream that cannot be unpacked."""
    good = samples.png_bytes(samples.photo())
    begin, end = good.index(b"IDAT") - 4, good.index(b"IEND") - 4
    return good[:begin] + samples.chunk(b"IDAT", b"\x78\x9c" + b"\xff" * 500) + good[end:]


def missing_pixels_png(dtype):
    """Right checksums around a stream that holds half of the rows."""
    picture = samples.photo() if dtype == np.uint8 else samples.photo_16_bit()
    good, half = samples.png_bytes(picture), samples.png_bytes(picture[:32])
    begin, end = half.index(b"IDAT") - 4, half.index(b"IEND") - 4
    return good[: good.index(b"IDAT") - 4] + half[begin:end] + samples.chunk(b"IEND", b"")


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def cut(content, share):
    return content[: int(len(content) * share)]


def many_scans():
    """A progressive JPEG whose last scan comes 300 times: it decodes, but the work has no bound."""
    begin = PROGRESSIVE.rindex(b"\xff\xda")
    return PROGRESSIVE[:-2] + PROGRESSIVE[begin:-2] * 300 + PROGRESSIVE[-2:]


def flipped_extra():
    """A 16-bit PNG with a wrong checksum in a chunk that its decoder never sees."""
    content = samples.png_bytes(samples.photo_16_bit(), extra=samples.chunk(b"gAMA", (45455).to_bytes(4)))
    return flipped(content, content.index(b"gAMA") + 5)


def small(form):
    return samples.encoded(Image.new("RGB", (1, 1)), form)


def cmyk():
    return samples.encoded(Image.fromarray(samples.photo()).convert("CMYK"), "JPEG")


JPEG, PNG = samples.jpeg_bytes(), samples.png_bytes(samples.photo())
WEBP = samples.encoded(Image.fromarray(samples.photo()), "WEBP")
PNG_16 = samples.png_bytes(samples.photo_16_bit())
PROGRESSIVE = samples.jpeg_bytes(progressive=True)

BAD = {
    "empty file": (b"", "picture.empty"),
    "text": (b"Dear Sir or Madam,\n" * 20, "picture.not_a_picture"),
    "zip": (b"PK\x03\x04" + bytes(200), "picture.not_a_picture"),
    "text that begins like a bitmap": (b"BMW is a maker of cars and motorcycles", "picture.not_a_picture"),
    "one byte": (b"\xff", "picture.not_a_picture"),
    "JPEG magic only": (b"\xff\xd8\xff", "picture.truncated"),
    "PNG magic only": (PNG[:8], "picture.truncated"),
    "WebP magic only": (WEBP[:12], "picture.truncated"),
    **{f"JPEG cut at {share}": (cut(JPEG, share), "picture.truncated") for share in (0.1, 0.5, 0.9, 0.999)},
    **{f"progressive cut at {share}": (cut(PROGRESSIVE, share), "picture.truncated") for share in (0.3, 0.9)},
    **{f"PNG cut at {share}": (cut(PNG, share), "picture.truncated") for share in (0.1, 0.5, 0.9, 0.999)},
    **{f"16-bit PNG cut at {share}": (cut(PNG_16, share), "picture.truncated") for share in (0.5, 0.9)},
    **{f"WebP cut at {share}": (cut(WEBP, share), "picture.truncated") for share in (0.5, 0.9)},
    "PNG with a flipped bit": (flipped(PNG, len(PNG) // 2), "picture.corrupt"),
    "PNG with broken pixels": (broken_pixels_png(), "picture.corrupt"),
    "PNG with half of its pixels": (missing_pixels_png(np.uint8), "picture.corrupt"),
    "16-bit PNG with half of its pixels": (missing_pixels_png(np.uint16), "picture.corrupt"),
    "PNG without pixels": (PNG[:33] + samples.chunk(b"IEND", b""), "picture.corrupt"),
    "PNG of size 0": (PNG[:16] + bytes(8) + PNG[24:], "picture.corrupt"),
    "PNG palette without colours": (
        samples.png_bytes(samples.photo()[:, :, 0], colour_type=3),
        "picture.corrupt",
    ),
    "WebP with a broken beginning": (flipped(WEBP, 23), "picture.corrupt"),
    "JPEG of height 0": (samples.with_size_in_jpeg(JPEG, 96, 0), "picture.corrupt"),
    "JPEG with a marker missing": (JPEG[:20] + b"\0\0\0\0" + JPEG[20:], "picture.corrupt"),
    "progressive JPEG of 310 scans": (many_scans(), "picture.corrupt"),
    "PNG with a flipped bit in its gamma": (flipped_extra(), "picture.corrupt"),
    "1x1 PNG": (small("PNG"), "picture.too_small"),
    "1x1 JPEG": (small("JPEG"), "picture.too_small"),
    "1x1 WebP": (small("WEBP"), "picture.too_small"),
    "PNG header of 30000x30000": (samples.huge_png_header(), "picture.too_large"),
    "PNG header of 2^31-1 a side": (samples.huge_png_header(2**31 - 1, 2**31 - 1), "picture.too_large"),
    "JPEG header of 30000x30000": (samples.with_size_in_jpeg(JPEG, 30000, 30000), "picture.too_large"),
    "animated GIF": (samples.animated("GIF"), "picture.animated"),
    "animated PNG": (samples.animated_png(), "picture.animated"),
    "animated WebP": (samples.animated("WEBP"), "picture.animated"),
    "CMYK JPEG": (cmyk(), "picture.cmyk"),
    "still GIF": (samples.encoded(Image.fromarray(samples.photo()), "GIF"), "picture.format_unsupported"),
    "BMP": (samples.encoded(Image.fromarray(samples.photo()), "BMP"), "picture.format_unsupported"),
    "TIFF": (samples.encoded(Image.fromarray(samples.photo()), "TIFF"), "picture.format_unsupported"),
    "HEIC magic only": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "picture.truncated"),
    "JPEG XL": (b"\xff\x0a" + bytes(100), "picture.format_unsupported"),
    "12-bit JPEG": (JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "picture.format_unsupported"),
}


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD.keys())
def test_bad_content_has_its_own_code(tmp_path, content, code):
    path = samples.saved(tmp_path, "portrait.jpg", content)
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(PictureError) as caught:
            read_picture(path, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == code
    assert caught.value.resolution
    assert str(path) in caught.value.message
    assert peak < 20 * 2**20
    assert time.monotonic() - began < 5


def test_missing(tmp_path):
    for path in (tmp_path / "nobody.png", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(PictureError) as caught:
            read_picture(path, LIMITS)
        assert caught.value.code == "picture.missing"


def test_directory(tmp_path):
    with pytest.raises(PictureError) as caught:
        read_picture(tmp_path, LIMITS)
    assert caught.value.code == "picture.is_directory"


def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert not is_picture(tmp_path / "pipe.png")
    with pytest.raises(PictureError) as caught:
        read_picture(tmp_path / "pipe.png", LIMITS)
    assert caught.value.code == "picture.unreadable"


def test_no_permission(tmp_path, monkeypatch):
    path = samples.saved(tmp_path, "secret.png", PNG)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read everything, so permissions alone do not do
    with pytest.raises(PictureError) as caught:
        read_picture(path, LIMITS)
    assert caught.value.code == "picture.unreadable"


def test_file_larger_than_any_picture_within_the_limits(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(40 * 2**20)
    with pytest.raises(PictureError) as caught:
        read_picture(path, LimitSettings(max_picture_pixels=1000))
    assert caught.value.code == "picture.too_large"


def test_limits_are_settable(tmp_path):
    path = samples.saved(tmp_path, "photo.png", PNG)
    assert read_picture(path, LimitSettings(max_side_px=96)).width_px == 96
    for limits in (
        LimitSettings(max_side_px=95),
        LimitSettings(max_picture_pixels=96 * 64 - 1),
    ):
        with pytest.raises(PictureError) as caught:
            read_picture(path, limits)
        assert caught.value.code == "picture.too_large"


def test_flipped_bits_never_raise_anything_else(tmp_path):
    random = np.random.default_rng(3)
    path = tmp_path / "portrait"
    for content in (JPEG, PNG, WEBP, PNG_16, PROGRESSIVE):
        for _ in range(60):
            damaged = bytearray(content)
            for place in random.integers(0, len(content), 3):
                damaged[place] ^= 1 << int(random.integers(8))
            path.write_bytes(damaged)
            try:
                read_picture(path, LIMITS)
            except PictureError as error:
                assert error.code.startswith("picture.")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (JPEG, True),
        (PNG, True),
        (WEBP, True),
        (samples.animated("GIF"), True),
        (b"\0\0\0\x20ftypisom" + bytes(40), False),
        (b"", False),
        (b"RIFF\0\0\0\0AVI LIST", False),
        (b"hello", False),
    ],
)
def test_is_picture_goes_by_content(tmp_path, content, expected):
    assert is_picture(samples.saved(tmp_path, "anything.mp4", content)) is expected


def test_is_picture_never_raises(tmp_path):
    assert not is_picture(tmp_path)
    assert not is_picture(tmp_path / "missing")
    assert not is_picture(tmp_path / "a\0b")
