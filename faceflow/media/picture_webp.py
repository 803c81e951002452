"""The chunks of a WebP file: one RIFF list with a lossy (`VP8 `) or lossless (`VP8L`) picture in it.

Larger files begin with `VP8X`, which states the canvas and announces animation, profile and EXIF.
"""

from __future__ import annotations

from pathlib import Path

from faceflow.media.picture_header import (
    MAX_PROFILE_BYTES,
    CheckSize,
    PictureHeader,
    animated,
    corrupt,
    truncated,
)


def read_webp_header(data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    """The header of the WebP file `data`; `path` is for messages.

    Raises:
        PictureError: `picture.truncated`, `picture.corrupt`, `picture.animated`, and what `check_size` raises.
    """
    end = int.from_bytes(data[4:8], "little") + 8
    size: tuple[int, int] | None = None
    lossless = False
    blocks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= min(end, len(data)):
        name, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        content = data[position + 8 : position + 8 + length]
        if name in (b"VP8 ", b"VP8L", b"VP8X"):
            found = _size(name, content, path)
            check_size(*found)
            size = size or found
            lossless = lossless or name == b"VP8L"
        if name in (b"ANIM", b"ANMF") or (name == b"VP8X" and content[0] & 0x02):
            raise animated(path, "WebP")
        if name in (b"ICCP", b"EXIF"):
            blocks.setdefault(name, content)
        position += 8 + length + (length & 1)
    # The padding byte of the last chunk may be missing.
    if end > len(data) + 1 or position > len(data) + 1:
        raise truncated(path)
    if size is None:
        raise corrupt(path, "it contains no picture")
    exif = blocks.get(b"EXIF")
    icc = blocks.get(b"ICCP")
    return PictureHeader(
        kind="webp",
        width_px=size[0],
        height_px=size[1],
        bit_depth=8,
        lossless=lossless,
        icc=icc if icc and len(icc) <= MAX_PROFILE_BYTES else None,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
    )


def _size(name: bytes, content: bytes, path: Path) -> tuple[int, int]:
    """Width and height as the three kinds of chunk state them."""
    if len(content) < (5 if name == b"VP8L" else 10):
        raise truncated(path)
    if name == b"VP8X":
        return int.from_bytes(content[4:7], "little") + 1, int.from_bytes(content[7:10], "little") + 1
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
        intact = content[0] == 0x2F
    else:
        width = int.from_bytes(content[6:8], "little") & 0x3FFF
        height = int.from_bytes(content[8:10], "little") & 0x3FFF
        intact = content[3:6] == b"\x9d\x01\x2a"
    if not intact or not width or not height:
        raise corrupt(path, "its picture has no valid header")
    return width, height
