"""HEIC, HEIF and AVIF: the primary picture as it is meant, sample by sample, and nothing that merely looks like one."""

import dataclasses
import io
import itertools
import struct
from functools import cache

import av.error
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from faceflow.errors import OutputError, PictureError
from faceflow.media.picture import is_picture, read_picture, write_picture
from faceflow.media.picture_extras import picture_extras
from faceflow.media.probe import probe
from faceflow.settings import LimitSettings
from tests import clips
from tests.pictures import heif, samples

LIMITS = LimitSettings()
WIDTH, HEIGHT = 80, 64
RGB = samples.photo(WIDTH, HEIGHT)
SRGB_COLOURS = heif.colours(1, 13, 6, True)
DEPTHS = {8: "", 10: "10le", 12: "12le"}


def deep(plane, depth):
    """Codes of `depth` bits, the low ones in use too."""
    if depth == 8:
        return plane
    noise = np.random.default_rng(depth).integers(0, 1 << (depth - 8), plane.shape)
    return (plane.astype(np.uint16) << (depth - 8) | noise).astype(np.uint16)


def read(folder, content, name="source.heic", limits=LIMITS):
    return read_picture(samples.saved(folder, name, content), limits)


def refused(folder, content, name="source.heic", limits=LIMITS):
    path = samples.saved(folder, name, content)
    with pytest.raises(PictureError) as caught:
        read_picture(path, limits)
    assert caught.value.resolution
    return caught.value


def gbr(depth=8, codec="hevc", rgb=RGB):
    """A lossless coded item of RGB, no colour matrix in between."""
    planes = [deep(rgb[:, :, channel], depth) for channel in (1, 2, 0)]
    return planes, heif.coded(planes, "gbrp" + DEPTHS[depth], codec)


def plain(*properties, rgb=RGB):
    """The bytes of an ordinary HEIC of RGB, with more properties on its picture."""
    item = gbr(rgb=rgb)[1]
    return heif.heif([dataclasses.replace(item, properties=[*item.properties, *properties])])


def converted(planes, matrix, full, depth):
    """Y, Cb, Cr -> R, G, B in 0..1, straight from H.273."""
    red, blue = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    unit, top = 1 << (depth - 8), (1 << depth) - 1
    black, span, chroma_span = (0, top, top) if full else (16 * unit, 219 * unit, 224 * unit)
    y, cb, cr = (plane.astype(float) for plane in planes)
    y, cb, cr = (y - black) / span, (cb - 128 * unit) / chroma_span, (cr - 128 * unit) / chroma_span
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return np.clip(np.dstack([r, (y - red * r - blue * b) / (1 - red - blue), b]), 0, 1)


@pytest.mark.parametrize("codec", ["hevc", "av1"])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", ["rgb", "gray"])
def test_coded_samples_are_kept_in_every_bit_depth(tmp_path, codec, depth, kind):
    if kind == "rgb":
        planes, item = gbr(depth, codec)
        codes = np.dstack(planes)[:, :, [2, 0, 1]]
    else:
        codes = deep(RGB[:, :, 0], depth)
        item = heif.coded([codes], "gray" + DEPTHS[depth], codec)
        item.properties.append(heif.colours(1, 13, 6, True))
    picture = read(tmp_path, heif.heif([item]))
    top, scale = (255, 255) if depth == 8 else (65535, (1 << depth) - 1)
    expected = np.rint(codes.astype(np.float64) * top / scale)
    np.testing.assert_array_equal(np.squeeze(picture.samples[:, :, ::-1]), expected)
    assert picture.kind == ("heif" if codec == "hevc" else "avif")
    write_picture(picture, picture.frame(), tmp_path / "out.png")
    again = read_picture(tmp_path / "out.png", LIMITS)
    np.testing.assert_array_equal(again.samples, picture.samples)
    assert again.bit_depth == (8 if depth == 8 else 16)


@pytest.mark.parametrize("codec", ["hevc", "av1"])
@pytest.mark.parametrize(("matrix", "full", "depth"), list(itertools.product((1, 6, 9), (True, False), DEPTHS)))
def test_matrix_and_range_are_the_stated_ones(tmp_path, codec, matrix, full, depth):
    planes = [deep(RGB[:, :, channel], depth) for channel in range(3)]
    planes[1:] = [plane // 2 + (64 << (depth - 8)) for plane in planes[1:]]
    item = heif.coded(planes, "yuv444p" + DEPTHS[depth], codec)
    item.properties.append(heif.colours(1, 13, matrix, full))
    picture = read(tmp_path, heif.heif([item]))
    top = 255 if depth == 8 else 65535
    difference = np.abs(picture.samples[:, :, ::-1] - converted(planes, matrix, full, depth) * top)
    assert difference.max() <= 0.51


def test_a_grid_is_the_same_as_one_picture_of_it(tmp_path):
    """Subsampled chroma, and tiles that reach beyond the right and lower border."""
    width, height, side = 150, 100, 64
    luma = samples.photo(192, 128)[:, :, 0]
    chroma = [samples.photo(96, 64)[:, :, channel] for channel in (1, 2)]
    tiles = []
    for row, column in itertools.product(range(2), range(3)):
        top, left = row * side, column * side
        planes = [luma[top : top + side, left : left + side]]
        planes += [plane[top // 2 : (top + side) // 2, left // 2 : (left + side) // 2] for plane in chroma]
        tiles.append(heif.coded(planes, "yuv420p"))
    whole = heif.coded([luma[:height, :width], *(plane[: height // 2, : width // 2] for plane in chroma)], "yuv420p")
    whole.properties.append(SRGB_COLOURS)
    tiled = read(tmp_path, heif.heif(heif.grid(tiles, 3, width, height, properties=[SRGB_COLOURS])))
    assert (tiled.width_px, tiled.height_px) == (width, height)
    np.testing.assert_array_equal(tiled.samples, read(tmp_path, heif.heif([whole])).samples)


def test_as_a_phone_lays_it_out(tmp_path):
    """A grid, turned, with a profile, EXIF that repeats the turn, a thumbnail, a depth map and a gain map beside it."""
    side, icc = 64, samples.SRGB
    rgb = samples.photo(128, 64)
    tiles = [gbr(rgb=rgb[:, left : left + side])[1] for left in (0, side)]
    items = heif.grid(tiles, 2, 128, 64, properties=[heif.profile(icc), heif.turned(3)])
    small = gbr(rgb=rgb[:32, :32])[1]
    exif = samples.exif_bytes(6, thumbnail=b"the old face", width=128, height=64)
    items += [
        dataclasses.replace(small, refers=[(b"thmb", [1])]),
        heif.Item(b"Exif", b"\0\0\0\6Exif\0\0" + exif, refers=[(b"cdsc", [1])]),
        *(
            dataclasses.replace(small, properties=[*small.properties, heif.auxiliary(urn)], refers=[(b"auxl", [1])])
            for urn in (b"urn:mpeg:hevc:2015:auxid:2", b"urn:com:apple:photo:2020:aux:hdrgainmap")
        ),
    ]
    picture = read(
        tmp_path,
        heif.heif(
            items, brands=(b"heic", b"mif1", b"MiHE", b"MiPr", b"miaf", b"heic"), more=heif.box(b"mpvd", b"film")
        ),
    )
    upright = np.rot90(rgb, 3)
    np.testing.assert_array_equal(picture.samples[:, :, ::-1], upright)
    assert picture.icc == icc
    assert picture.alpha is None
    assert picture.extras == ("thmb", "urn:mpeg:hevc:2015:auxid:2", "urn:com:apple:photo:2020:aux:hdrgainmap")
    told = " ".join(picture_extras((tmp_path / "source.heic").read_bytes(), "heif", None, picture.extras))
    assert all(word in told for word in ("thumbnail", "depth map", "gain map", "film")), told
    for ending in ("jpg", "png", "webp", "avif"):
        write_picture(picture, picture.frame(), tmp_path / f"out.{ending}")
        assert b"the old face" not in (tmp_path / f"out.{ending}").read_bytes()
        with Image.open(tmp_path / f"out.{ending}") as shown:
            assert shown.size == (64, 128)
            assert shown.info["icc_profile"] == icc
            assert shown.getexif().get(0x0112, 1) == 1
            assert shown.getexif()[0x010F] == "Kamera"
            details = shown.getexif().get_ifd(0x8769)
            assert (details[0xA002], details[0xA003]) == (64, 128)


TURNS = {
    "irot 1": ([heif.turned(1)], np.rot90),
    "irot 2": ([heif.turned(2)], lambda rgb: np.rot90(rgb, 2)),
    "irot 3": ([heif.turned(3)], lambda rgb: np.rot90(rgb, 3)),
    "imir 0": ([heif.mirrored(0)], lambda rgb: rgb[::-1]),
    "imir 1": ([heif.mirrored(1)], lambda rgb: rgb[:, ::-1]),
    "irot then imir": ([heif.turned(1), heif.mirrored(1)], lambda rgb: np.rot90(rgb)[:, ::-1]),
    "imir then irot": ([heif.mirrored(1), heif.turned(1)], lambda rgb: np.rot90(rgb[:, ::-1])),
    "clap in the middle": ([heif.cropped(40, 32)], lambda rgb: rgb[16:48, 20:60]),
    "clap off the middle": ([heif.cropped(41, 33, -1, 3)], lambda rgb: rgb[17:50, 19:60]),
    "clap then irot": ([heif.cropped(40, 30, 20, 2), heif.turned(1)], lambda rgb: np.rot90(rgb[18:48, 30:70])),
}


@pytest.mark.parametrize(("properties", "expected"), TURNS.values(), ids=TURNS.keys())
def test_turns_mirrors_and_crops_in_their_order(tmp_path, properties, expected):
    exif = heif.Item(b"Exif", b"\0\0\0\0" + samples.exif_bytes(8), refers=[(b"cdsc", [1])])
    item = gbr()[1]
    item = dataclasses.replace(item, properties=[*item.properties, *properties])
    picture = read(tmp_path, heif.heif([item, exif]))
    np.testing.assert_array_equal(picture.samples[:, :, ::-1], expected(RGB))  # EXIF does not turn it once more
    assert (picture.width_px, picture.height_px) == (picture.samples.shape[1], picture.samples.shape[0])


def test_identity_derivation_and_another_primary(tmp_path):
    other = samples.photo(WIDTH, HEIGHT)[::-1].copy()
    items = [
        gbr(rgb=other)[1],
        gbr()[1],
        heif.Item(b"iden", properties=[heif.turned(2)], refers=[(b"dimg", [2])], in_idat=True),
    ]
    for primary, expected in ((1, other), (2, RGB), (3, RGB[::-1, ::-1])):
        found = read(tmp_path, heif.heif(items, primary=primary)).samples[:, :, ::-1]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("premultiplied", [False, True])
def test_alpha(tmp_path, premultiplied):
    alpha = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8) + 40
    shown = np.rint(RGB * (alpha[:, :, None] / 255)).astype(np.uint8) if premultiplied else RGB
    mask = heif.coded([alpha], "gray")
    mask = dataclasses.replace(
        mask, properties=[*mask.properties, heif.auxiliary(heif.ALPHA), heif.turned(1)], refers=[(b"auxl", [1])]
    )
    item = gbr(rgb=shown)[1]
    refers = [(b"prem", [2])] if premultiplied else []
    item = dataclasses.replace(item, properties=[*item.properties, heif.turned(1)], refers=refers)
    picture = read(tmp_path, heif.heif([item, mask]))
    np.testing.assert_array_equal(picture.alpha, np.rot90(alpha))
    difference = np.abs(picture.samples[:, :, ::-1].astype(int) - np.rot90(RGB))
    assert difference.max() <= (4 if premultiplied else 0)
    with pytest.raises(OutputError) as caught:
        write_picture(picture, picture.frame(), tmp_path / "out.jpg")
    assert caught.value.code == "output.alpha"
    for ending in ("png", "webp", "avif"):
        write_picture(picture, picture.frame(), tmp_path / f"out.{ending}")
        found = read_picture(tmp_path / f"out.{ending}", LIMITS).alpha
        assert np.abs(found.astype(int) - picture.alpha).max() <= (8 if ending == "avif" else 0)


def seen_as(rgb, primaries):
    """What linear R, G, B of other primaries are in sRGB, by their chromaticities alone; 0..1 in and out."""
    corners = {
        1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
        9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
        12: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    }

    def to_xyz(points):
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
        return columns * np.linalg.solve(columns, [0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])

    return rgb @ (np.linalg.inv(to_xyz(corners[1])) @ to_xyz(corners[primaries])).T


def test_display_p3_by_numbers_is_seen_and_written_in_its_own_colours(tmp_path):
    picture = read(tmp_path, plain(heif.colours(12, 13, 0, True)))
    np.testing.assert_array_equal(picture.samples[:, :, ::-1], RGB)
    code = RGB / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    wanted = np.clip(seen_as(light, 12), 0, 1)
    wanted = np.where(wanted <= 0.0031308, 12.92 * wanted, 1.055 * wanted ** (1 / 2.4) - 0.055) * 255
    assert np.abs(picture.bgr()[:, :, ::-1] - wanted).max() <= 2
    for ending in ("jpg", "png", "webp", "avif"):
        write_picture(picture, picture.frame(), tmp_path / f"out.{ending}")
        with Image.open(tmp_path / f"out.{ending}") as shown:
            icc = ImageCms.ImageCmsProfile(io.BytesIO(shown.info["icc_profile"]))
            found = ImageCms.profileToProfile(shown.convert("RGB"), icc, ImageCms.createProfile("sRGB"))
        assert np.abs(np.asarray(found) - wanted).mean() < 3


@pytest.mark.parametrize("primaries", [1, 9, 12])
def test_plain_srgb_needs_no_profile_and_others_get_the_same_one_each_time(tmp_path, primaries):
    first = read(tmp_path, plain(heif.colours(primaries, 13, 0, True)))
    assert (first.icc is None) == (primaries == 1)
    assert first.icc == read(tmp_path, plain(heif.colours(primaries, 13, 0, True))).icc


def coded_light(light, transfer):
    """Light, 1 for diffuse white (203 cd/m2), as PQ or as HLG of a 1000 cd/m2 screen: codes 0..1, for grays."""
    nits = np.asarray(light) * 203.0
    if transfer == 16:
        power = (nits / 10000) ** (2610 / 16384)
        return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    scene = (nits / 1000) ** (1 / 1.2)
    root = np.sqrt(3 * scene)
    return np.where(scene <= 1 / 12, root, 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("depth", [10, 12])
def test_high_dynamic_range_is_seen_in_its_own_hues_and_written_only_where_it_is_kept(tmp_path, transfer, depth):
    gray = np.repeat(np.linspace(0.02, 0.7, WIDTH)[None], HEIGHT, 0)
    code = coded_light(gray, transfer)
    planes = [np.rint(code * ((1 << depth) - 1)).astype(np.uint16)] * 3
    planes[2] = planes[2].copy()
    planes[2][:32] = np.rint(coded_light(0.5, transfer) * ((1 << depth) - 1))
    item = heif.coded(planes, "gbrp" + DEPTHS[depth])
    item.properties.append(heif.colours(9, transfer, 0, True))
    picture = read(tmp_path, heif.heif([item]))
    seen = picture.bgr().astype(int)
    neutral = seen[40:]
    assert np.abs(neutral - neutral.mean(axis=2, keepdims=True)).max() <= 1
    wanted = np.where(gray <= 0.0031308, 12.92 * gray, 1.055 * gray ** (1 / 2.4) - 0.055) * 255
    assert np.abs(neutral[:, :, 1] - wanted[40:]).max() <= 3
    assert (seen[:32, :20, 2] > seen[:32, :20, 1] + 40).all()
    write_picture(picture, picture.frame(), tmp_path / "out.png")
    again = read_picture(tmp_path / "out.png", LIMITS)
    np.testing.assert_array_equal(again.samples, picture.samples)
    np.testing.assert_array_equal(again.bgr(), picture.bgr())
    assert samples.chunk(b"cICP", bytes([9, transfer, 0, 1])) in (tmp_path / "out.png").read_bytes()
    for ending in ("jpg", "webp", "avif"):
        with pytest.raises(OutputError) as caught:
            write_picture(again, again.frame(), tmp_path / f"out.{ending}")
        assert caught.value.code == "output.hdr"


@pytest.mark.parametrize("transfer", [16, 18])
def test_gray_of_high_dynamic_range(tmp_path, transfer):
    gray = np.repeat(np.linspace(0.02, 0.7, WIDTH)[None], HEIGHT, 0)
    item = heif.coded([np.rint(coded_light(gray, transfer) * 1023).astype(np.uint16)], "gray10le")
    item.properties.append(heif.colours(9, transfer, 9, True))
    seen = read(tmp_path, heif.heif([item])).bgr()
    wanted = np.where(gray <= 0.0031308, 12.92 * gray, 1.055 * gray ** (1 / 2.4) - 0.055) * 255
    assert np.abs(seen - wanted[:, :, None]).max() <= 3


def test_colours_without_a_meaning_are_refused_not_guessed(tmp_path):
    item = heif.coded([RGB[:, :, channel] for channel in range(3)], "yuv444p")
    for colours in ((1, 13, 14, True), (1, 13, 8, False), (3, 13, 6, True), (1, 9, 6, True)):
        changed = dataclasses.replace(item, properties=[*item.properties, heif.colours(*colours)])
        assert refused(tmp_path, heif.heif([changed])).code == "picture.format_unsupported"


def test_pillow_is_of_the_same_opinion_about_avif(tmp_path):
    for orientation, (sampling, most) in itertools.product(range(1, 9), (("4:4:4", 1), ("4:2:0", 60))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(RGB).save(tmp_path / "p.avif", quality=95, subsampling=sampling, exif=exif)
        upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "p.avif"))).astype(int)
        found = read_picture(tmp_path / "p.avif", LIMITS).samples[:, :, ::-1]
        assert np.abs(found - upright).max() <= most
        assert np.abs(found - upright).mean() < 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("chroma", [420, 422, 444])
def test_libheif_is_of_the_same_opinion_about_heic(tmp_path, mode, chroma):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(np.dstack([RGB, RGB[:, :, 1]])).convert(mode)
    pillow_heif.from_pillow(image).save(tmp_path / "p.heic", quality=90, chroma=chroma)
    expected = np.asarray(pillow_heif.open_heif(tmp_path / "p.heic")).astype(int)
    picture = read_picture(tmp_path / "p.heic", LIMITS)
    found = np.dstack([picture.samples[:, :, ::-1], *([] if picture.alpha is None else [picture.alpha])])
    difference = np.abs(np.squeeze(found) - expected)
    assert difference.max() <= (1 if mode == "L" or chroma == 444 else 60)  # each enlarges chroma in its own way
    assert difference.mean() < 1


def test_same_input_gives_the_same_avif(tmp_path):
    picture = read(tmp_path, plain())
    for name in ("one", "two"):
        write_picture(picture, picture.frame(), tmp_path / f"{name}.avif")
    assert (tmp_path / "one.avif").read_bytes() == (tmp_path / "two.avif").read_bytes()
    result = read_picture(tmp_path / "one.avif", LIMITS)
    assert result.kind == "avif"
    assert np.abs(result.samples.astype(int) - picture.samples).mean() < 3


def avif_item():
    return gbr(codec="av1")[1]


PATCHED = {
    "HEIC as mp42": ((b"mp42", b"isom", b"mp42"), "hevc"),
    "HEIC as avif": ((b"avif", b"mif1", b"avif"), "hevc"),
    "HEIC as qt": ((b"qt  ", b"qt  "), "hevc"),
    "HEIC as a sequence": ((b"msf1", b"hevc"), "hevc"),
    "AVIF as heic": ((b"heic", b"mif1", b"heic"), "av1"),
    "AVIF as isom": ((b"isom", b"isom"), "av1"),
    "AVIF as avis": ((b"avis", b"avif", b"msf1"), "av1"),
}


@pytest.mark.parametrize(("brands", "codec"), PATCHED.values(), ids=PATCHED.keys())
@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a.mp4"])
def test_what_it_is_is_told_by_what_lies_in_it(tmp_path, brands, codec, name):
    content = heif.heif([gbr(codec=codec)[1]], brands=brands)
    assert is_picture(samples.saved(tmp_path, name, content))
    picture = read(tmp_path, content, name)
    assert picture.kind == ("heif" if codec == "hevc" else "avif")
    np.testing.assert_array_equal(picture.samples[:, :, ::-1], RGB)


def made_video(folder):
    clips.ffmpeg(*clips.picture(0.2), "-c:v", "libx264", folder / "clip.mp4")
    return folder / "clip.mp4"


@pytest.mark.parametrize("brand", [b"heic", b"avif", b"mif1", b"msf1", b"isom"])
def test_a_video_stays_a_video_under_any_brand_and_name(tmp_path, brand):
    content = bytearray(made_video(tmp_path).read_bytes())
    content[8:12] = brand
    path = samples.saved(tmp_path, "clip.heic", bytes(content))
    assert not is_picture(path)
    assert probe(path, LIMITS).video.width_px > 0
    error = refused(tmp_path, bytes(content), "portrait.heic")
    assert error.code == "picture.not_a_picture"
    assert "video" in error.message


def test_other_formats_under_these_names_are_read_as_what_they_are(tmp_path):
    for content, kind in ((samples.jpeg_bytes(), "jpeg"), (samples.png_bytes(RGB), "png"), (plain(), "heif")):
        for name in ("a.heic", "a.avif", "a.png"):
            assert read(tmp_path, content, name).kind == kind


def test_sequences_are_animations(tmp_path):
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(tmp_path / "a.avif", save_all=True, append_images=frames[1:], duration=100)
    content = (tmp_path / "a.avif").read_bytes()
    for brand in (b"avis", b"heic", b"msf1", b"mp42"):
        changed = content[:8] + brand + content[12:]
        assert is_picture(samples.saved(tmp_path, "b.avif", changed))
        assert refused(tmp_path, changed).code == "picture.animated"
    # Without its still picture, and cut off before the tracks.
    assert refused(tmp_path, heif.box(b"ftyp", b"msf1", bytes(4), b"hevc", b"msf1")).code == "picture.animated"


def replaced(item, kind=None, **changes):
    return heif.heif([dataclasses.replace(item, **({"kind": kind} if kind else {}), **changes)])


def resized(width, height):
    item = gbr()[1]
    return dataclasses.replace(item, properties=[heif.size(width, height), *item.properties[1:]])


def tiled(width, height, *, columns=2, rows=1, references=None):
    tile = gbr(rgb=RGB[:64, :64])[1]
    items = heif.grid([tile], 1, 64, 64)
    items[0].data = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    items[0].properties = [heif.size(width, height)]
    items[0].refers = [(b"dimg", references or [2] * (columns * rows))]
    return heif.heif(items)


def without_last_property():
    """The last box of the list of properties is not counted any more, and still referred to."""
    content = bytearray(plain(heif.colours(1, 13, 6, True)))
    place = content.index(b"ipco") - 4
    inner, end = place + 8, place + int.from_bytes(content[place : place + 4])
    while inner + int.from_bytes(content[inner : inner + 4]) < end:
        inner += int.from_bytes(content[inner : inner + 4])
    content[place : place + 4] = (inner - place).to_bytes(4)
    content[inner + 4 : inner + 8] = b"free"
    return bytes(content)


@cache
def bad():
    item, planes = gbr()[1], gbr()[0]
    odd = dataclasses.replace(item, properties=[*item.properties, (b"zzzz", b"", True)])
    alpha = heif.coded([planes[0][:32]], "gray")
    alpha = dataclasses.replace(
        alpha, properties=[*alpha.properties, heif.auxiliary(heif.ALPHA)], refers=[(b"auxl", [1])]
    )
    first, unsupported, corrupt = plain(), "picture.format_unsupported", "picture.corrupt"
    setup = item.properties[1][1]
    return {
        "brand alone": (heif.box(b"ftyp", b"heic", bytes(4), b"mif1heic"), "picture.truncated"),
        "only its first bytes": (first[:40], "picture.truncated"),
        "without its last byte": (first[:-1], "picture.truncated"),
        "half": (first[: len(first) // 2], "picture.truncated"),
        "JPEG inside": (replaced(item, b"jpeg"), unsupported),
        "JPEG 2000 inside": (replaced(item, b"j2k1"), unsupported),
        "VVC inside": (replaced(item, b"vvc1"), unsupported),
        "H.264 inside": (replaced(item, b"avc1"), unsupported),
        "uncompressed": (replaced(item, b"unci"), unsupported),
        "overlay": (replaced(item, b"iovl"), unsupported),
        "unknown item": (replaced(item, b"q\xff z"), unsupported),
        "encrypted": (replaced(item, protected=True), unsupported),
        "property that must be understood": (heif.heif([odd]), unsupported),
        "a property that does not exist": (without_last_property(), corrupt),
        "no primary item": (heif.heif([item], primary=9), corrupt),
        "no size": (replaced(item, properties=item.properties[1:]), corrupt),
        "no set-up": (replaced(item, properties=item.properties[:1]), corrupt),
        "a set-up of 3 bytes": (replaced(item, properties=[item.properties[0], (b"hvcC", b"abc", True)]), corrupt),
        "another bit depth": (
            replaced(item, properties=[item.properties[0], (b"hvcC", setup[:17] + b"\xfa\xfa" + setup[19:], True)]),
            corrupt,
        ),
        "no data": (replaced(item, data=b""), corrupt),
        "noise": (replaced(item, data=bytes(range(256)) * 4), corrupt),
        "HEVC as AV1": (
            replaced(item, b"av01", properties=[item.properties[0], (b"av1C", b"\x81\0\0\0", True)]),
            corrupt,
        ),
        "size 0": (heif.heif([resized(0, 64)]), corrupt),
        "a smaller size than coded": (heif.heif([resized(32, 32)]), corrupt),
        "a larger size than coded": (heif.heif([resized(2000, 2000)]), corrupt),
        "30000 a side": (heif.heif([resized(30000, 30000)]), "picture.too_large"),
        "2^32-1 a side": (heif.heif([resized(2**32 - 1, 2**32 - 1)]), "picture.too_large"),
        "8000x8001": (heif.heif([resized(8000, 8001)]), "picture.too_large"),
        "8x8": (heif.heif([resized(8, 8)]), "picture.too_small"),
        "grid of 60000 a side": (tiled(60000, 60000, columns=255, rows=255), "picture.too_large"),
        "grid that its tiles do not fill": (tiled(200, 64), corrupt),
        "grid with tiles outside": (tiled(64, 64), corrupt),
        "grid with too few tiles": (tiled(128, 64, references=[2]), corrupt),
        "grid of itself": (tiled(128, 64, references=[1, 1]), unsupported),
        "grid of nothing": (tiled(128, 64, references=[7, 8]), corrupt),
        "identity of itself": (
            heif.heif([heif.Item(b"iden", properties=[heif.size(64, 64)], refers=[(b"dimg", [1])])]),
            corrupt,
        ),
        "cropped to nothing": (plain(heif.cropped(0, 10)), corrupt),
        "cropped by a half of nothing": (plain((b"clap", bytes(32), True)), corrupt),
        "cropped outside": (plain(heif.cropped(20, 20, 900, 900)), corrupt),
        "alpha of another size": (heif.heif([item, alpha]), corrupt),
        "sequence": (heif.box(b"ftyp", b"hevc", bytes(4)), "picture.animated"),
    }


BAD = [
    "brand alone",
    "only its first bytes",
    "without its last byte",
    "half",
    "JPEG inside",
    "JPEG 2000 inside",
    "VVC inside",
    "H.264 inside",
    "uncompressed",
    "overlay",
    "unknown item",
    "encrypted",
    "property that must be understood",
    "a property that does not exist",
    "no primary item",
    "no size",
    "no set-up",
    "a set-up of 3 bytes",
    "another bit depth",
    "no data",
    "noise",
    "HEVC as AV1",
    "size 0",
    "a smaller size than coded",
    "a larger size than coded",
    "30000 a side",
    "2^32-1 a side",
    "8000x8001",
    "8x8",
    "grid of 60000 a side",
    "grid that its tiles do not fill",
    "grid with tiles outside",
    "grid with too few tiles",
    "grid of itself",
    "grid of nothing",
    "identity of itself",
    "cropped to nothing",
    "cropped by a half of nothing",
    "cropped outside",
    "alpha of another size",
    "sequence",
]


@pytest.mark.parametrize("name", BAD)
def test_every_other_file_has_its_own_code(tmp_path, name):
    assert list(bad()) == BAD
    content, code = bad()[name]
    error = refused(tmp_path, content, limits=LimitSettings(max_picture_pixels=64_000_000))
    assert error.code == code
    assert "source.heic" in error.message


def test_a_file_cut_anywhere_is_cut_off_or_damaged(tmp_path):
    content = heif.heif(heif.grid([gbr(rgb=RGB[:64, :64])[1]] * 2, 2, 128, 64, properties=[SRGB_COLOURS]))
    path = tmp_path / "cut.heic"
    for length in (*range(1, 700, 7), *range(700, len(content), len(content) // 20), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(PictureError) as caught:
            read_picture(path, LIMITS)
        assert caught.value.code in ("picture.truncated", "picture.not_a_picture" if length < 16 else "picture.corrupt")


def test_a_decoder_never_gets_more_pixels_than_the_file_states(tmp_path):
    """A stream of 2048x2048 behind a size of 96x64: refused, and no memory taken for it."""
    for codec in ("hevc", "av1"):
        large = heif.coded([np.zeros((2048, 2048), np.uint8)], "gray", codec)
        small = dataclasses.replace(large, properties=[heif.size(96, 64), *large.properties[1:]])
        error = refused(tmp_path, heif.heif([small]))
        assert error.code == "picture.corrupt"
        assert isinstance(error.__cause__, av.error.FFmpegError), "decoded, and measured afterwards"


def test_many_pictures_hidden_in_one_are_not_decoded(tmp_path):
    item = avif_item()
    several = dataclasses.replace(item, data=item.data * 500)
    error = refused(tmp_path, heif.heif([several]))
    assert error.code == "picture.corrupt"
    assert "several pictures" in error.message
