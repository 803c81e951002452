"""The chunks of a PNG file: read with their checksums, and written by hand.

Writing by hand is what makes a PNG exact: gray, gray with alpha, RGB and RGBA in 8 and 16 bit keep every sample, and
the chunks that say how samples become colours (profile, gamma, primaries, HDR tags) are copied as they are, which no
picture library does for all of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faceflow.media.picture_cicp import Cicp, known
from faceflow.media.picture_header import (
    MAX_PROFILE_BYTES,
    CheckSize,
    PictureHeader,
    animated,
    corrupt,
    truncated,
)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {_GRAY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GRAY_ALPHA: (8, 16), _RGB_ALPHA: (8, 16)}
_CHANNELS = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}
_COLOUR_TYPES = {1: _GRAY, 2: _GRAY_ALPHA, 3: _RGB, 4: _RGB_ALPHA}
_CARRIED = frozenset({b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"pHYs"})
_ROWS_AT_ONCE = 64
_IDAT_BYTES = 2**20


def read_png_header(data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    """The header of the PNG file `data`, after the checksum of every chunk was found right.

    Raises:
        PictureError: `picture.truncated`, `picture.corrupt`, `picture.animated`, and what `check_size` raises.
    """
    width, height, depth, colour, interlace = _read_size(data, path)
    check_size(width, height)
    chunks: dict[bytes, bytes] = {}
    pixels: list[bytes] = []
    for name, content in _chunks(data, path):
        if name == b"acTL" and int.from_bytes(content[:4]) > 1:
            raise animated(path, "PNG")
        if name == b"IDAT":
            pixels.append(content)
        else:
            chunks.setdefault(name, content)
    if not pixels or (colour == _PALETTE and b"PLTE" not in chunks):
        raise corrupt(path, "it contains no pixels")
    # Decoders fill missing rows with black and do not say so.
    _check_length(pixels, _inflated_bytes(width, height, _CHANNELS[colour] * depth, interlace), path)
    key = chunks.get(b"tRNS", b"")
    return PictureHeader(
        kind="png",
        width_px=width,
        height_px=height,
        bit_depth=16 if depth == 16 else 8,
        lossless=True,
        icc=_profile(chunks.get(b"iCCP")),
        exif=chunks.get(b"eXIf"),
        carried=tuple((name, content) for name, content in chunks.items() if name in _CARRIED),
        transparent=_transparent(key, _CHANNELS[colour]) if colour in (_GRAY, _RGB) else None,
        cicp=_stated_colours(chunks.get(b"cICP")),
    )


def without_extras(data: bytes, path: Path) -> bytes:
    """The same picture with its pixels only: no transparency key, profile, EXIF, text."""
    needed = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in _chunks(data, path) if name in needed)


def write_png(
    file: BinaryIO, samples: NDArray[np.uint8] | NDArray[np.uint16], extras: list[tuple[bytes, bytes]]
) -> None:
    """Writes a PNG file.

    Args:
        file: open for writing.
        samples: uint8 or uint16 (H, W, C); C is 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        extras: chunks (name, content) to put between size and pixels.
    """
    height, width, channels = samples.shape
    depth = 8 * samples.dtype.itemsize
    size = width.to_bytes(4) + height.to_bytes(4) + bytes([depth, _COLOUR_TYPES[channels], 0, 0, 0])
    file.write(_SIGNATURE + _chunk(b"IHDR", size))
    for name, content in extras:
        file.write(_chunk(name, content))
    packer, packed = zlib.compressobj(6), bytearray()
    for rows in _filtered(samples):
        packed += packer.compress(rows)
        while len(packed) >= _IDAT_BYTES:
            file.write(_chunk(b"IDAT", bytes(packed[:_IDAT_BYTES])))
            del packed[:_IDAT_BYTES]
    file.write(_chunk(b"IDAT", bytes(packed + packer.flush())))
    file.write(_chunk(b"IEND", b""))


def profile_chunk(icc: bytes) -> tuple[bytes, bytes]:
    """The iCCP chunk of a colour profile that came from another format."""
    return b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)


def _read_size(data: bytes, path: Path) -> tuple[int, int, int, int, int]:
    if len(data) < 33:
        raise truncated(path)
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour, _, _, interlace = data[24:29]
    if data[8:16] != b"\0\0\0\x0dIHDR" or depth not in _DEPTHS.get(colour, ()) or not width or not height:
        raise corrupt(path, "its size or colour type is not valid")
    return width, height, depth, colour, interlace


def _chunks(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of every chunk up to IEND."""
    position = len(_SIGNATURE)
    while True:
        length = int.from_bytes(data[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            raise truncated(path)
        name, content = data[position + 4 : position + 8], data[position + 8 : end - 4]
        if zlib.crc32(content, zlib.crc32(name)) != int.from_bytes(data[end - 4 : end]):
            raise corrupt(path, "a checksum in it is wrong")
        yield name, content
        if name == b"IEND":
            return
        position = end


def _chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(content, zlib.crc32(name)).to_bytes(4)


def _stated_colours(content: bytes | None) -> Cicp | None:
    """The numbers in a cICP chunk; of a damaged one, or one that makes no sense for RGB, nothing is believed."""
    if content is None or len(content) != 4 or content[2]:
        return None
    cicp = Cicp(content[0], content[1], 0, bool(content[3]))
    return cicp if known(cicp) else None


def _profile(content: bytes | None) -> bytes | None:
    """The colour profile in an iCCP chunk; a damaged or oversized one is left out."""
    if content is None:
        return None
    unpacker = zlib.decompressobj()
    try:
        icc = unpacker.decompress(content[content.index(b"\0") + 2 :], MAX_PROFILE_BYTES)
    except (ValueError, zlib.error):
        return None
    return icc if unpacker.eof and icc else None


def _transparent(key: bytes, channels: int) -> tuple[int, ...] | None:
    if len(key) != 2 * channels:
        return None
    return tuple(int.from_bytes(key[place : place + 2]) for place in range(0, len(key), 2))


def _inflated_bytes(width: int, height: int, pixel_bits: int, interlace: int) -> int:
    """Bytes that the pixels have when unpacked: each row with one more for its filter."""
    if not interlace:
        return height * (1 + (width * pixel_bits + 7) // 8)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    sizes = (((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in passes)
    return sum(rows * (1 + (columns * pixel_bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _check_length(pixels: list[bytes], expected: int, path: Path) -> None:
    unpacker, found = zlib.decompressobj(), 0
    try:
        for part in pixels:
            rest = part
            while rest and not unpacker.eof and found <= expected:
                found += len(unpacker.decompress(rest, _IDAT_BYTES))
                rest = unpacker.unconsumed_tail
        found += len(unpacker.decompress(b"", _IDAT_BYTES))
    except zlib.error as error:
        raise corrupt(path, "its pixels cannot be decompressed") from error
    if found < expected:
        raise corrupt(path, "some of its pixels are missing")


def _filtered(samples: NDArray[np.uint8] | NDArray[np.uint16]) -> Iterator[bytes]:
    """Rows with the filter that promises the smallest file, as libpng chooses it: least sum of absolute values."""
    height, width, channels = samples.shape
    step = channels * samples.dtype.itemsize
    above = np.zeros((1, width * step), np.uint8)
    for first in range(0, height, _ROWS_AT_ONCE):
        block = np.ascontiguousarray(samples[first : first + _ROWS_AT_ONCE])
        rows = block.astype(block.dtype.newbyteorder(">"), copy=False).view(np.uint8).reshape(len(block), -1)
        up = np.concatenate([above, rows[:-1]])
        left, corner = np.zeros_like(rows), np.zeros_like(rows)
        left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
        candidates = np.stack([rows, rows - left, rows - up, rows - _paeth(left, up, corner)])
        cost = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
        chosen = cost.argmin(axis=0)
        numbers = np.array([0, 1, 2, 4], np.uint8)[chosen][:, None]
        yield np.concatenate([numbers, candidates[chosen, np.arange(len(rows))]], axis=1).tobytes()
        above = rows[-1:]


def _paeth(left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The neighbour that is nearest to left + up - corner (PNG specification, 9.4)."""
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest_up = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest_up)
