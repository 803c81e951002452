"""What a picture's file holds beside the picture: told where it is left out, and the place only as the job wants it."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from faceflow.infrastructure.settings import Settings
from faceflow.job import Consent, Sensitivity, Source, SwapJob
from faceflow.media.picture import read_picture
from faceflow.media.picture_exif import has_place, without_place
from faceflow.media.picture_extras import picture_extras
from faceflow.settings import LimitSettings, TrustSettings
from faceflow.stages.picture_notes import picture_notes
from tests.pictures.samples import chunk, encoded, exif_bytes, jpeg_bytes, photo, photo_16_bit, png_bytes

XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"
GAIN_MAP_XMP = (
    b'http://ns.adobe.com/xap/1.0/\0<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
)
MOTION_XMP = b'http://ns.adobe.com/xap/1.0/\0<x GCamera:MotionPhoto="1"/>'
DEPTH_XMP = b'http://ns.adobe.com/xap/1.0/\0<x xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/"/>'
FILM = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\xff\xd8\xff" + b"frames" * 20
TEXTS = chunk(b"tEXt", b"a\0b") + chunk(b"iTXt", b"XML:com.adobe.xmp\0")
FILM_TOLD, MAP_TOLD = "a short film (motion photo)", "an HDR gain map (Ultra HDR)"


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments, behind=b"", **options):
    whole = jpeg_bytes(**options)
    return whole[:2] + b"".join(segments) + whole[2:] + behind


def webp(*chunks):
    whole = encoded(Image.fromarray(photo()), "WEBP", exif=b"Exif\0\0" + exif_bytes())  # with VP8X, as chunks need
    padded = [(name, text, b"\0" * (len(text) & 1)) for name, text in chunks]
    rest = whole[12:] + b"".join(name + struct.pack("<I", len(text)) + text + end for name, text, end in padded)
    return b"RIFF" + struct.pack("<I", len(rest) + 4) + b"WEBP" + rest


FILES = {
    "plain JPEG": (".jpg", jpeg(), None),
    "JPEG with all that is carried": (".jpg", jpeg_bytes(exif=b"Exif\0\0" + exif_bytes(), dpi=(72, 72)), None),
    "XMP": (".jpg", jpeg(segment(0xE1, XMP)), "XMP"),
    "Ultra HDR": (
        ".jpg", jpeg(segment(0xE1, GAIN_MAP_XMP), segment(0xE2, b"MPF\0x"), behind=jpeg_bytes()), f"XMP, {MAP_TOLD}",
    ),
    "a gain map that was cut off": (".jpg", jpeg(segment(0xE1, GAIN_MAP_XMP)), "XMP"),
    "motion photo": (".jpg", jpeg(segment(0xE1, MOTION_XMP), behind=FILM), f"XMP, {FILM_TOLD}"),
    "Samsung's motion photo": (".jpg", jpeg(behind=b"\0\0\x30\x0aMotionPhoto_Data" + FILM), FILM_TOLD),
    "a film that was cut off": (".jpg", jpeg(segment(0xE1, MOTION_XMP)), "XMP"),
    "gain map and film": (
        ".jpg", jpeg(segment(0xE1, GAIN_MAP_XMP), behind=jpeg_bytes() + FILM), f"XMP, {MAP_TOLD}, {FILM_TOLD}",
    ),
    "depth": (".jpg", jpeg(segment(0xE1, DEPTH_XMP)), "XMP, a depth map"),
    "MPO": (".jpg", jpeg(segment(0xE2, b"MPF\0x"), behind=jpeg_bytes()), "pictures after the first one"),
    "captions": (".jpg", jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04rest")), "IPTC captions"),
    "comment": (".jpg", jpeg(segment(0xFE, b"hello")), "a comment"),
    "credentials": (".jpg", jpeg(segment(0xEB, b"JP\0\1 jumb c2pa")), "content credentials (C2PA)"),
    "a maker's data": (".jpg", jpeg(segment(0xE4, b"x"), segment(0xE4, b"y")), "application data (APP4)"),
    "bytes after": (".jpg", jpeg(behind=b"something"), "9 bytes after the picture"),
    "zeros behind": (".jpg", jpeg(behind=bytes(100)), None),
    "thumbnail": (
        ".jpg", jpeg_bytes(exif=b"Exif\0\0" + exif_bytes(thumbnail=jpeg_bytes())),
        "the thumbnail in EXIF, which shows the original face",
    ),
    "PNG texts": (
        ".png",
        png_bytes(photo(), extra=TEXTS + chunk(b"tIME", b"1234567")),
        "text chunks, XMP, chunks of unknown kinds (tIME)",
    ),
    "plain PNG": (".png", png_bytes(photo(), extra=chunk(b"pHYs", bytes(9)) + chunk(b"iDOT", b"x")), None),
    "PNG and more": (".png", png_bytes(photo()) + FILM, FILM_TOLD),
    "WebP": (".webp", webp(), None),
    "WebP XMP": (".webp", webp((b"XMP ", b"<x/>"), (b"ODD ", b"x")), "XMP, chunks of unknown kinds (ODD)"),
}  # fmt: skip


def job(target, output, sensitivity=Sensitivity.PUBLIC):
    return SwapJob(
        sources=(Source(portraits=("a.png",)),), target=str(target), output=str(output), sensitivity=sensitivity,
        consent=Consent(subject="Ada", scope="a test"),
    )  # fmt: skip


def notes(path, output, sensitivity=Sensitivity.PUBLIC, **trust):
    settings = Settings(trust=TrustSettings(**trust))
    return picture_notes(read_picture(path, LimitSettings()), job(path, output, sensitivity), settings)


@pytest.mark.parametrize("name", FILES)
def test_what_is_left_out_is_named_in_one_note(tmp_path, name):
    ending, data, expected = FILES[name]
    path = tmp_path / f"in{ending}"
    path.write_bytes(data)
    told = () if expected is None else (f"left out of the picture file: {expected}",)
    assert notes(path, f"out{ending}") == told


def test_fewer_bits_and_colours_that_only_png_states_are_told(tmp_path):
    path = tmp_path / "in.png"
    path.write_bytes(png_bytes(photo_16_bit(), extra=chunk(b"gAMA", struct.pack(">I", 100_000))))
    assert notes(path, "out.png") == ()
    assert notes(path, "out.webp") == (
        "left out of the picture file: gamma",
        "its samples of more than 8 bits were rounded to 8, the most that WEBP supports here",
    )


def placed(order="<"):
    """EXIF of either byte order with a GPS directory in the middle of the main one, and a link to a thumbnail."""
    gps = struct.pack(order + "H", 2)
    gps += struct.pack(order + "HHI4s", 1, 2, 2, b"N\0\0\0") + struct.pack(order + "HHII", 2, 5, 3, 200)
    gps += struct.pack(order + "I", 0)
    main = struct.pack(order + "H", 3) + struct.pack(order + "HHIHH", 0x0112, 3, 1, 1, 0)
    main += struct.pack(order + "HHII", 0x8825, 4, 1, 100) + struct.pack(order + "HHI4s", 0x9286, 7, 4, b"text")
    main += struct.pack(order + "I", 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    block = (head + main).ljust(100, b"\0") + gps
    return block.ljust(200, b"\0") + b"".join(struct.pack(order + "II", value, 1) for value in (48, 51, 27))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_place_goes_and_all_else_stays(order):
    block = placed(order)
    assert has_place(block)
    cleaned = without_place(block)
    assert not has_place(cleaned)
    assert len(cleaned) == len(block)
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + cleaned)
    assert dict(exif) == {0x0112: 1, 0x9286: b"text"}
    assert not exif.get_ifd(0x8825)
    assert struct.pack(order + "II", 48, 1) not in cleaned
    assert without_place(cleaned) == cleaned
    for length in range(len(block)):  # cut anywhere: cleaned or given up, never left in
        cut = without_place(block[:length])
        assert cut is None or not has_place(cut)


@pytest.mark.parametrize(
    ("sensitivity", "setting", "carried"),
    [
        (Sensitivity.PUBLIC, "public", True), (Sensitivity.PRIVATE, "public", False),
        (Sensitivity.RESTRICTED, "public", False), (Sensitivity.PRIVATE, "always", True),
        (Sensitivity.PUBLIC, "never", False),
    ],
)  # fmt: skip
def test_whose_place_is_left_out_is_told_with_the_way_to_keep_it(tmp_path, sensitivity, setting, carried):
    path = tmp_path / "in.jpg"
    path.write_bytes(jpeg_bytes(exif=b"Exif\0\0" + placed()))
    told = notes(path, "out.jpg", sensitivity, carry_place=setting)
    why = f"the job is {sensitivity}" if setting == "public" else f"FACEFLOW_TRUST__CARRY_PLACE is {setting}"
    expected = (
        f"the location where it was taken was left out, because {why}; "
        "set FACEFLOW_TRUST__CARRY_PLACE=always to keep it",
    )
    assert told == (() if carried else expected)
    path.write_bytes(jpeg_bytes(exif=b"Exif\0\0" + exif_bytes()))
    assert notes(path, "out.jpg", sensitivity, carry_place=setting) == ()


@pytest.mark.parametrize(
    ("items", "box", "expected"),
    [
        (("Exif",), b"mdat", ()),
        (("urn:com:apple:photo:2020:aux:hdrgainmap", "tmap"), b"mdat", (MAP_TOLD,)),
        (("urn:mpeg:hevc:2015:auxid:2",), b"mdat", ("a depth map",)),
        (("urn:com:apple:photo:2018:aux:portraiteffectsmatte",), b"mdat", ("a matte",)),
        (("urn:x:y",), b"mdat", ("an auxiliary picture (urn:x:y)",)),
        (("hvc1", "grid", "mime"), b"mdat", ("additional pictures", "XMP")),
        (("uri ",), b"mpvd", (FILM_TOLD, "items of unknown kinds (uri)")),
    ],
)
def test_what_lies_in_heif_and_avif_is_called_by_its_name(items, box, expected):
    data = struct.pack(">I4s", 12, b"ftyp") + b"heic" + struct.pack(">I4s", 8, box)
    assert picture_extras(data, "heif", None, items) == expected


def test_pictures_cut_anywhere_are_described_without_an_error():
    for ending, data, _ in FILES.values():
        kind = {".jpg": "jpeg"}.get(ending, ending[1:])
        for length in range(0, len(data), 7):
            picture_extras(data[:length], kind, None)
