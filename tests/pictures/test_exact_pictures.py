"""What must survive: samples, bit depth, alpha, profile, orientation, the way a JPEG was compressed."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceflow.errors import ExactnessError, OutputError, ResourceError
from faceflow.media.picture import PICTURE_ENDINGS, check_destination, read_picture, write_picture
from faceflow.settings import LimitSettings
from tests.pictures import samples

LIMITS = LimitSettings()


def read(folder, content, name="source"):
    return read_picture(samples.saved(folder, name, content), LIMITS)


def written(picture, destination, **options):
    write_picture(picture, picture.frame(), destination, **options)
    return read_picture(destination, LIMITS)


RGB, RGB_16 = samples.photo(), samples.photo_16_bit()
ALPHA = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
ALPHA_16 = ALPHA.astype(np.uint16) * 257 - (ALPHA > 0)

LOSSLESS = {
    "RGB": (samples.png_bytes(RGB), RGB, None, "gbrp"),
    "RGBA": (samples.png_bytes(np.dstack([RGB, ALPHA])), RGB, ALPHA, "gbrp"),
    "gray": (samples.png_bytes(RGB[:, :, 0]), RGB[:, :, 0], None, "gray"),
    "gray and alpha": (samples.png_bytes(np.dstack([RGB[:, :, 0], ALPHA])), RGB[:, :, 0], ALPHA, "gray"),
    "RGB 16": (samples.png_bytes(RGB_16), RGB_16, None, "gbrp16le"),
    "RGBA 16": (samples.png_bytes(np.dstack([RGB_16, ALPHA_16])), RGB_16, ALPHA_16, "gbrp16le"),
    "gray 16": (samples.png_bytes(RGB_16[:, :, 0]), RGB_16[:, :, 0], None, "gray16le"),
    "gray and alpha 16": (
        samples.png_bytes(np.dstack([RGB_16[:, :, 0], ALPHA_16])),
        RGB_16[:, :, 0],
        ALPHA_16,
        "gray16le",
    ),
    "lossless WebP": (samples.encoded(Image.fromarray(RGB), "WEBP", lossless=True), RGB, None, "gbrp"),
    "lossless WebP with alpha": (
        samples.encoded(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", lossless=True, exact=True),
        RGB,
        ALPHA,
        "gbrp",
    ),
}


@pytest.mark.parametrize(("content", "colours", "alpha", "pixel_format"), LOSSLESS.values(), ids=LOSSLESS.keys())
def test_samples_are_those_of_the_file(tmp_path, content, colours, alpha, pixel_format):
    frame = (picture := read(tmp_path, content)).frame()
    planes = [colours] if colours.ndim == 2 else [colours[:, :, channel] for channel in (2, 1, 0)]
    assert frame.pixel_format == pixel_format
    assert frame.bit_depth == 8 * colours.dtype.itemsize
    assert len(frame.planes) == len(planes)
    for plane, expected in zip(frame.planes, planes, strict=True):
        assert plane.flags.c_contiguous
        assert plane.flags.writeable
        np.testing.assert_array_equal(plane, expected)
    if alpha is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, alpha)


@pytest.mark.parametrize(("content", "colours", "alpha", "pixel_format"), LOSSLESS.values(), ids=LOSSLESS.keys())
def test_png_keeps_every_sample_outside_the_change(tmp_path, content, colours, alpha, pixel_format):
    picture = read(tmp_path, content)
    frame = picture.frame()
    for plane in frame.planes:
        plane[10:30, 20:50] = 7
    write_picture(picture, frame, tmp_path / "out.png")
    result = read_picture(tmp_path / "out.png", LIMITS)
    expected = picture.samples.copy()
    expected[10:30, 20:50] = 7
    np.testing.assert_array_equal(result.samples, expected)
    assert result.samples.dtype == picture.samples.dtype
    if alpha is None:
        assert result.alpha is None
    else:
        np.testing.assert_array_equal(result.alpha, alpha)
    np.testing.assert_array_equal(picture.frame().planes[0], picture.samples[:, :, 0])  # the source was not touched


def test_other_programs_read_what_was_written(tmp_path):
    for name, (content, colours, alpha, _) in LOSSLESS.items():
        if colours.dtype == np.uint8:
            written(read(tmp_path, content), tmp_path / "out.png")
            found = np.asarray(Image.open(tmp_path / "out.png"))
            expected = colours if alpha is None else np.dstack([colours, alpha])
            np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("mode", ["P", "1", "L"])
def test_palette_and_few_bits_become_plain_samples(tmp_path, mode):
    image = Image.fromarray(RGB).convert(mode, **({"palette": Image.Palette.ADAPTIVE} if mode == "P" else {}))
    picture = read(tmp_path, samples.encoded(image, "PNG"))
    expected = np.asarray(image.convert("RGB" if mode == "P" else "L"))
    np.testing.assert_array_equal(np.squeeze(picture.samples[:, :, ::-1]), expected)
    np.testing.assert_array_equal(written(picture, tmp_path / "out.png").samples, picture.samples)


def test_transparency_keys_become_alpha(tmp_path):
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    content = samples.encoded(palette, "PNG", transparency=0)
    np.testing.assert_array_equal(read(tmp_path, content).alpha, np.where(np.asarray(palette) == 0, 0, 255))

    for colours, key in ((RGB[:, :, 0], ">H"), (RGB, ">HHH"), (RGB_16[:, :, 0], ">H"), (RGB_16, ">HHH")):
        value = np.atleast_1d(colours[5, 5])
        extra = samples.chunk(b"tRNS", struct.pack(key, *value))
        picture = read(tmp_path, samples.png_bytes(colours, extra=extra))
        hidden = (colours.reshape(64, 96, -1) == value).all(axis=2)
        np.testing.assert_array_equal(picture.alpha == 0, hidden)
        np.testing.assert_array_equal(np.squeeze(picture.samples[:, :, ::-1]), colours)
        np.testing.assert_array_equal(written(picture, tmp_path / "o.png").alpha, picture.alpha)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_orientation(tmp_path, form, orientation):
    exif = samples.exif_bytes(orientation)
    options = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"lossless": True}}[form]
    content = samples.encoded(Image.fromarray(RGB), form, exif=b"Exif\0\0" + exif, **options)
    picture = read(tmp_path, content)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "source"))
    np.testing.assert_array_equal(picture.samples[:, :, ::-1], np.asarray(upright))
    assert (picture.width_px, picture.height_px) == upright.size

    for ending in ("png", "jpg", "webp", "avif"):
        result = written(picture, tmp_path / f"out.{ending}")
        assert (result.width_px, result.height_px) == upright.size
        with Image.open(tmp_path / f"out.{ending}") as shown:
            assert shown.getexif().get(0x0112, 1) == 1
            assert shown.getexif()[0x010F] == "Kamera"
            details = shown.getexif().get_ifd(0x8769)
            assert (details[0xA002], details[0xA003]) == upright.size


def test_alpha_is_turned_with_the_picture(tmp_path):
    image = Image.fromarray(np.dstack([RGB, ALPHA]))
    picture = read(tmp_path, samples.encoded(image, "PNG", exif=b"Exif\0\0" + samples.exif_bytes(6)))
    np.testing.assert_array_equal(picture.alpha, np.rot90(ALPHA, -1))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_is_left_out(tmp_path):
    for block in (b"II*\0\xff\xff\xff\x7f", b"nonsense", b"MM\0*\0\0\0\x08\xff\xff", b"II"):
        picture = read(tmp_path, samples.encoded(Image.fromarray(RGB), "JPEG", exif=b"Exif\0\0" + block))
        assert picture.exif is None
        written(picture, tmp_path / "out.jpg")


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "avif"])
def test_thumbnail_of_the_old_face_is_gone(tmp_path, ending):
    secret = b"\xff\xd8thumbnail of the face that was replaced\xff\xd9"
    exif = samples.exif_bytes(6, thumbnail=secret)
    picture = read(tmp_path, samples.encoded(Image.fromarray(RGB), "JPEG", exif=b"Exif\0\0" + exif))
    written(picture, tmp_path / f"out.{ending}")
    assert b"thumbnail of the face" in (tmp_path / "source").read_bytes()
    assert b"thumbnail of the face" not in (tmp_path / f"out.{ending}").read_bytes()
    result = read_picture(tmp_path / f"out.{ending}", LIMITS).exif
    assert second_directory(exif) > 0
    assert second_directory(result) == 0


def second_directory(block):
    """Where a TIFF block says that its second directory (the thumbnail's) is; 0 for none."""
    order = "<" if block[:2] == b"II" else ">"
    first = struct.unpack_from(order + "I", block, 4)[0]
    entries = struct.unpack_from(order + "H", block, first)[0]
    return struct.unpack_from(order + "I", block, first + 2 + 12 * entries)[0]


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "avif"])
def test_colour_profile_is_kept(tmp_path, source, ending):
    content = samples.encoded(Image.fromarray(RGB), source, icc_profile=samples.SRGB)
    written(read(tmp_path, content), tmp_path / f"out.{ending}")
    with Image.open(tmp_path / f"out.{ending}") as shown:
        assert shown.info["icc_profile"] == samples.SRGB


def test_large_profile_in_several_jpeg_pieces(tmp_path):
    profile = samples.SRGB + np.random.default_rng(1).bytes(150_000)
    picture = read(tmp_path, samples.jpeg_bytes(icc_profile=profile))
    assert picture.icc == profile
    assert written(picture, tmp_path / "out.jpg").icc == profile


def test_colour_chunks_of_png_are_kept_as_they_are(tmp_path):
    extra = samples.chunk(b"gAMA", (45455).to_bytes(4)) + samples.chunk(b"cICP", bytes([9, 16, 0, 1]))
    picture = read(tmp_path, samples.png_bytes(RGB_16, extra=extra))
    written(picture, tmp_path / "out.png")
    assert extra in (tmp_path / "out.png").read_bytes()


def test_analysis_sees_srgb_while_samples_stay(tmp_path):
    profile = swapped_primaries()
    picture = read(tmp_path, samples.encoded(Image.fromarray(RGB), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(picture.samples[:, :, ::-1], RGB)
    seen = picture.bgr()[:, :, ::-1].astype(int)
    swapped = RGB[:, :, [2, 1, 0]].astype(int)
    assert np.abs(seen - swapped).mean() < 4 < np.abs(seen - RGB).mean()
    assert seen.shape == RGB.shape


def swapped_primaries():
    """sRGB with its red and blue primaries changed over, so that a conversion cannot be overlooked."""
    icc = bytearray(samples.SRGB)
    places = {}
    for entry in range(132, 132 + 12 * int.from_bytes(icc[128:132]), 12):
        places[bytes(icc[entry : entry + 4])] = entry
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    icc[red : red + 4], icc[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(icc)


def test_damaged_profile_counts_as_srgb_and_is_kept(tmp_path):
    picture = read(tmp_path, samples.encoded(Image.fromarray(RGB), "PNG", icc_profile=b"not a profile at all"))
    np.testing.assert_array_equal(picture.bgr()[:, :, ::-1], RGB)
    assert written(picture, tmp_path / "out.png").icc == b"not a profile at all"


def test_bgr_of_gray_16_bit_and_alpha(tmp_path):
    for content, colours in (
        (samples.png_bytes(RGB[:, :, 0]), np.dstack([RGB[:, :, 0]] * 3)),
        (samples.png_bytes(np.dstack([RGB, ALPHA])), RGB),
        (samples.png_bytes(RGB.astype(np.uint16) * 257), RGB),
    ):
        seen = read(tmp_path, content).bgr()
        assert seen.dtype == np.uint8
        assert seen.flags.writeable
        np.testing.assert_array_equal(seen[:, :, ::-1], colours)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_compressed_as_its_source(tmp_path, subsampling, progressive):
    content = samples.jpeg_bytes(quality=71, subsampling=subsampling, progressive=progressive)
    picture = read(tmp_path, content)
    result = written(picture, tmp_path / "out.jpeg")
    assert result.jpeg == picture.jpeg
    assert result.jpeg.subsampling == subsampling
    # The same tables again: almost every sample comes back as it was.
    assert (np.abs(result.samples.astype(int) - picture.samples) <= 2).mean() > 0.97


def test_gray_jpeg_stays_gray(tmp_path):
    picture = read(tmp_path, samples.encoded(Image.fromarray(RGB[:, :, 0]), "JPEG", quality=80))
    assert picture.pixel_format == "gray"
    assert written(picture, tmp_path / "out.jpg").pixel_format == "gray"


def test_other_sources_become_good_jpeg_without_subsampling(tmp_path):
    result = written(read(tmp_path, samples.png_bytes(RGB)), tmp_path / "out.jpg")
    assert result.jpeg.subsampling == 0
    assert np.abs(result.samples[:, :, ::-1].astype(int) - RGB).mean() < 3
    assert written(read(tmp_path, samples.png_bytes(RGB)), tmp_path / "small.jpg", quality=20)
    assert (tmp_path / "small.jpg").stat().st_size < (tmp_path / "out.jpg").stat().st_size / 2


def test_16_bit_to_8_bit_formats_is_rounded(tmp_path):
    picture = read(tmp_path, samples.png_bytes(RGB_16))
    rounded = np.rint(RGB_16 / 257).astype(int)
    np.testing.assert_array_equal(written(picture, tmp_path / "out.webp").samples[:, :, ::-1], rounded)
    assert np.abs(written(picture, tmp_path / "out.jpg").samples[:, :, ::-1] - rounded).mean() < 3


def test_alpha_to_jpeg_is_refused_unless_nothing_is_transparent(tmp_path):
    picture = read(tmp_path, samples.png_bytes(np.dstack([RGB, ALPHA])))
    with pytest.raises(OutputError) as caught:
        write_picture(picture, picture.frame(), tmp_path / "out.jpg")
    assert caught.value.code == "output.alpha"
    opaque = read(tmp_path, samples.png_bytes(np.dstack([RGB_16, np.full((64, 96), 65535, np.uint16)])))
    assert written(opaque, tmp_path / "out.jpg").alpha is None


def test_destination_is_checked_before_the_work(tmp_path):
    picture = read(tmp_path, samples.png_bytes(RGB))
    assert {check_destination(picture, tmp_path / f"a{ending}") for ending in PICTURE_ENDINGS} == {
        "jpeg",
        "png",
        "webp",
        "avif",
    }
    assert check_destination(picture, tmp_path / "A.PNG") == "png"
    for name in ("out.mp4", "out", "out.gif", ".png"):
        with pytest.raises(OutputError) as caught:
            check_destination(picture, tmp_path / name)
        assert caught.value.code == "output.ending_unknown"


def test_a_frame_of_another_size_is_a_fault(tmp_path):
    picture = read(tmp_path, samples.png_bytes(RGB))
    frame = picture.frame()
    frame.planes = [plane[1:].copy() for plane in frame.planes]
    with pytest.raises(ExactnessError):
        write_picture(picture, frame, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    picture = read(tmp_path, samples.png_bytes(RGB))
    destination = samples.saved(tmp_path, "out.png", b"old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("faceflow.media.picture.encode_picture", full)
    with pytest.raises(ResourceError) as caught:
        write_picture(picture, picture.frame(), destination)
    assert caught.value.code == "fault.disk_full"
    assert destination.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out.png"}


def test_same_input_gives_the_same_bytes(tmp_path):
    picture = read(tmp_path, samples.png_bytes(RGB_16))
    for ending in ("png", "jpg", "webp", "avif"):
        for name in ("one", "two"):
            write_picture(picture, picture.frame(), tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_large_png(tmp_path):
    """More rows than are filtered at once, and noise, so that every filter is chosen."""
    smooth = np.add.outer(np.arange(200), np.arange(300) * 3).astype(np.uint8)
    noise = np.random.default_rng(5).integers(0, 256, (200, 300)).astype(np.uint8)
    colours = np.dstack([smooth, np.where(np.arange(200)[:, None] % 70 < 35, smooth, noise), noise])
    picture = read(tmp_path, samples.png_bytes(colours))
    np.testing.assert_array_equal(written(picture, tmp_path / "out.png").samples, picture.samples)


def test_lossless_webp_keeps_colours_under_full_transparency(tmp_path):
    picture = read(tmp_path, samples.png_bytes(np.dstack([RGB, np.where(ALPHA < 128, 0, 255).astype(np.uint8)])))
    result = written(picture, tmp_path / "out.webp")
    np.testing.assert_array_equal(result.samples, picture.samples)
    np.testing.assert_array_equal(result.alpha, picture.alpha)


def test_interlaced_png(tmp_path):
    """Adam7 files in 8 and 16 bit, packed by hand."""
    for colours in (RGB, RGB_16):
        picture = read(tmp_path, adam7(colours))
        np.testing.assert_array_equal(picture.samples[:, :, ::-1], colours)


def adam7(colours):
    raw = b""
    big = colours.astype(colours.dtype.newbyteorder(">"))
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        raw += b"".join(b"\0" + row.tobytes() for row in big[y::dy, x::dx])
    height, width, _ = colours.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * colours.dtype.itemsize, 2, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + samples.chunk(b"IHDR", header)
        + samples.chunk(b"IDAT", zlib.compress(raw))
        + samples.chunk(b"IEND", b"")
    )
