"""The markers of a JPEG file, up to its first scan.

What is learnt: size, number of components, sample precision, coding process, EXIF (APP1) and colour profile (APP2, in
numbered pieces). The scans are left to the decoder, but counted: a progressive file of many thousand empty scans is
small and takes minutes to decode.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from faceflow.errors import PictureError
from faceflow.media.picture_header import (
    MAX_PROFILE_BYTES,
    CheckSize,
    PictureHeader,
    corrupt,
    truncated,
    unsupported,
)

_MAX_SCANS = 200
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_HUFFMAN_DCT = frozenset({0xC0, 0xC1, 0xC2})


def read_jpeg_header(data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    """The header of the JPEG file `data`; `path` is for messages.

    Raises:
        PictureError: `picture.truncated`, `picture.corrupt`, `picture.cmyk`, `picture.format_unsupported`, and what
            `check_size` raises.
    """
    size: tuple[int, int] | None = None
    exif: bytes | None = None
    profile: dict[int, bytes] = {}
    scans = len(data)
    for marker, content, end in _segments(data, path):
        if marker in _FRAMES:
            size = _frame_size(marker, content, path, check_size)
        elif marker == 0xE1 and content.startswith(b"Exif\0\0") and exif is None:
            exif = content[6:]
        elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
            profile[content[12]] = content[14:]
        scans = end
    if size is None:
        raise corrupt(path, "its pixel data comes before its size")
    if data.find(b"\xff\xd9", scans) < 0:
        raise truncated(path)
    if data.count(b"\xff\xda", scans) > _MAX_SCANS:
        raise corrupt(path, f"it has more than {_MAX_SCANS} scans")
    icc = b"".join(profile[number] for number in sorted(profile))
    return PictureHeader(
        kind="jpeg",
        width_px=size[0],
        height_px=size[1],
        bit_depth=8,
        lossless=False,
        icc=icc if 0 < len(icc) <= MAX_PROFILE_BYTES else None,
        exif=exif,
    )


def _segments(data: bytes, path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of every segment, the first start of scan being the last one."""
    marker, position = 0, 2
    while marker != 0xDA:
        marker, position = _next_marker(data, position, path)
        if marker in _NO_LENGTH:
            continue
        end = position + int.from_bytes(data[position : position + 2])
        if marker == 0xD9 or max(end, position + 2) > len(data):
            raise truncated(path)
        if end < position + 2:
            raise corrupt(path, "a marker has an impossible length")
        yield marker, data[position + 2 : end], end
        position = end


def _next_marker(data: bytes, position: int, path: Path) -> tuple[int, int]:
    """The marker at `position` and where its content begins; fill bytes are passed over."""
    if position >= len(data):
        raise truncated(path)
    if data[position] != 0xFF:
        raise corrupt(path, "a marker is missing")
    while position < len(data) and data[position] == 0xFF:
        position += 1
    if position >= len(data):
        raise truncated(path)
    return data[position], position + 1


def _frame_size(marker: int, content: bytes, path: Path, check_size: CheckSize) -> tuple[int, int]:
    """Width and height from a start-of-frame marker, after all checks that it allows."""
    if len(content) < 6:
        raise corrupt(path, "its size is incomplete")
    precision, components = content[0], content[5]
    height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    if not width or not height:
        raise corrupt(path, f"its header states {width}x{height} pixels")
    check_size(width, height)
    if components == 4:
        raise PictureError(
            "picture.cmyk",
            f"{str(path)!r} uses CMYK colours (for printing).",
            "Convert it to RGB and save it as JPEG, PNG or WebP.",
        )
    if components not in (1, 3) or precision != 8 or marker not in _HUFFMAN_DCT:
        raise unsupported(path, f"JPEG ({components} components, {precision} bit, coding process {marker - 0xC0})")
    return width, height
