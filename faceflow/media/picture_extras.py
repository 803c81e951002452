"""What lies in a picture file beside the picture and does not go along, in words for the user.

Cameras put much into one file: a gain map that makes it an HDR picture on some screens, a short film, a map of
distances, the picture before it was blurred. None of these would fit a picture with another face, and most show the
old one. Texts beside the EXIF block are left behind too. Nothing here decodes anything: marks in the file are looked
for, in time and memory bounded by its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from faceflow.media.picture_exif import has_thumbnail

_GAIN_MAPS = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"urn:com:apple:photo:2020:aux:hdrgainmap",
    b"urn:iso:std:iso:ts:21496",
)
_DEPTHS = (
    b"http://ns.google.com/photos/1.0/depthmap/",
    b"http://ns.google.com/photos/dd/1.0/device/",
    b'Semantic="Depth"',
    b"urn:com:apple:photo:2018:aux:disparity",
    b"aux:depth",
    b"aux:disparity",
)
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_KNOWN_SEGMENTS = (b"JFIF\0", b"JFXX\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"MPF\0", b"JP", _GAIN_MAPS[2])
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FILM, _GAIN_MAP, _DEPTH = "a short film (motion photo)", "an HDR gain map (Ultra HDR)", "a depth map"
_FURTHER = "additional pictures"
_ITEMS = {
    "mime": "XMP",
    "tmap": _GAIN_MAP,
    "thmb": "a thumbnail, which shows the original face",
    **dict.fromkeys(("hvc1", "av01", "avc1", "jpeg", "j2k1", "vvc1", "grid", "iden", "iovl"), _FURTHER),
}
_PNG_CARRIED = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf"}
    | {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"pHYs"}
    | {b"iDOT"}  # where decoders may begin, no part of the picture
)
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_WEBP_CARRIED = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"EXIF"})


def picture_extras(data: bytes, kind: str, exif: bytes | None, items: Sequence[str] = ()) -> tuple[str, ...]:
    """What is in a picture file that the result does not have.

    Args:
        data: a whole file whose header was read without an error.
        kind: its format, as `PictureHeader.kind` says.
        exif: its EXIF block, or None.
        items: of HEIF and AVIF: what lies in it by the format's own names, as `PictureHeader.extras` says.
    """
    finders = {"jpeg": _of_jpeg, "png": _of_png, "webp": _of_webp}
    found = list(finders[kind](data)) if kind in finders else list(_of_boxes(data, items))
    if has_thumbnail(exif):
        found.append("the thumbnail in EXIF, which shows the original face")
    return tuple(dict.fromkeys(found))


def _of_jpeg(data: bytes) -> Iterator[str]:
    position, marker = 2, 0
    others: list[str] = []
    while marker != 0xDA and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xFF or marker in _NO_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        content = data[position + 4 : end]
        if marker == 0xFE:
            yield "a comment"
        elif 0xE0 <= marker <= 0xEF:
            yield from _of_segment(marker - 0xE0, content, others)
        position = end
    yield from _behind_jpeg(data, _end_of_jpeg(data, position))
    if others:
        yield f"application data ({', '.join(dict.fromkeys(others))})"


def _behind_jpeg(data: bytes, end: int) -> Iterator[str]:
    """What follows the first picture: films and further pictures are said to be there only where they are."""
    behind = data[end:]
    film = behind.find(b"ftyp")
    pictures = b"\xff\xd8\xff" in (behind if film < 0 else behind[:film])
    gain_map = pictures and any(mark in data for mark in _GAIN_MAPS)
    depth = any(mark in data for mark in _DEPTHS)
    if gain_map:
        yield _GAIN_MAP
    if film >= 0:
        yield _FILM
    if depth:
        yield _DEPTH
    if pictures and not gain_map and not depth:
        yield "pictures after the first one"
    elif behind.strip(b"\0") and not pictures and film < 0:
        yield f"{len(behind)} bytes after the picture"


def _of_segment(number: int, content: bytes, others: list[str]) -> Iterator[str]:
    """What an application segment holds; names of those that are not known go to `others`."""
    if content.startswith((_XMP, _MORE_XMP)):
        yield "XMP"
    elif content.startswith(b"Photoshop 3.0\0"):
        yield "IPTC captions" if b"8BIM\x04\x04" in content else "Photoshop's data"
    elif number == 11 and b"c2pa" in content:
        yield "content credentials (C2PA)"
    elif not content.startswith(_KNOWN_SEGMENTS):
        others.append(f"APP{number}")


def _end_of_jpeg(data: bytes, position: int) -> int:
    """Where the first picture ends: behind its first end mark that follows its scans."""
    end = data.find(b"\xff\xd9", position)
    return len(data) if end < 0 else end + 2


def _of_png(data: bytes) -> Iterator[str]:
    names, position = [], 8
    while position + 12 <= len(data):
        length, name = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        content = data[position + 8 : position + 8 + min(length, 64)]
        if name in _PNG_TEXTS:
            yield "XMP" if content.startswith(b"XML:com.adobe.xmp\0") else "text chunks"
        elif name == b"caBX":
            yield "content credentials (C2PA)"
        elif name not in _PNG_CARRIED:
            names.append(name.decode("latin-1"))
        position += 12 + length
        if name == b"IEND":
            break
    yield from _others(names, "chunks")
    yield from _behind(data[position:])


def _of_webp(data: bytes) -> Iterator[str]:
    end, position, names = int.from_bytes(data[4:8], "little") + 8, 12, []
    while position + 8 <= min(end, len(data)):
        name, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        if name == b"XMP ":
            yield "XMP"
        elif name == b"C2PA":
            yield "content credentials (C2PA)"
        elif name not in _WEBP_CARRIED:
            names.append(name.decode("latin-1").strip())
        position += 8 + length + (length & 1)
    yield from _others(names, "chunks")
    yield from _behind(data[end:])


def _of_boxes(data: bytes, items: Sequence[str]) -> Iterator[str]:
    """HEIF and AVIF: auxiliary pictures by their URNs, other items by their four letters, boxes beside them."""
    unknown = []
    for name in items:
        if ":" in name:
            yield _auxiliary(name)
        elif name in _ITEMS:
            yield _ITEMS[name]
        elif name != "Exif":
            unknown.append(name.strip())
    position = 0
    while position + 8 <= len(data):
        length, name_of_box = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        if name_of_box == b"mpvd":
            yield _FILM
        if length < 8:  # to the end of the file, or in 64 bits, or damaged
            break
        position += length
    yield from _others(unknown, "items")


def _auxiliary(urn: str) -> str:
    if "gainmap" in urn.lower() or "21496" in urn:
        return _GAIN_MAP
    if urn.endswith(("auxid:2", ":depth", ":disparity")):
        return _DEPTH
    return "a matte" if "matte" in urn.lower() else f"an auxiliary picture ({urn})"


def _others(names: Iterable[str], kind: str) -> Iterator[str]:
    if listed := ", ".join(dict.fromkeys(name if name.isprintable() else repr(name) for name in names)):
        yield f"{kind} of unknown kinds ({listed})"


def _behind(rest: bytes) -> Iterator[str]:
    if rest[4:8] == b"ftyp":
        yield _FILM
    elif rest.strip(b"\0"):
        yield f"{len(rest)} bytes after the picture"
