"""JPEG markers, PNG and WebP chunks, and the boxes of HEIF and AVIF."""

from __future__ import annotations

import zlib

from tests.fuzz.layout import Block, Field, Layout

_HEIF_PARENTS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iref": 4, b"iinf": 6, b"moov": 0, b"trak": 0, b"mdia": 0}
"""Bytes before the boxes inside."""
_WEBP_LISTS = frozenset({b"RIFF"})


def jpeg_layout(data: bytes) -> Layout:
    layout = Layout()
    layout.words("start", 0, 2, size=1)
    begin = 2
    while begin + 4 <= len(data) and data[begin] == 0xFF:
        marker, length = data[begin + 1], Field("marker length", begin + 2, 2)
        stop = begin + 2 + length.read(data)
        if stop > len(data):
            break
        name = f"FF{marker:02X}"
        layout.fields += [length, Field("marker", begin + 1, 1)]
        layout.words(name, begin + 4, stop, size=1, most=80)
        if 0xC0 <= marker <= 0xC2:
            layout.fields += [Field("height", begin + 5, 2), Field("width", begin + 7, 2)]
        if marker == 0xDA:
            layout.blocks.append(Block("scan", stop, len(data)))
            next_one = data.find(b"\xff\xc4", stop)
            stop = next_one if next_one > 0 else len(data)
        layout.blocks.append(Block(name, begin, stop))
        begin = stop
    return layout


def png_layout(data: bytes) -> Layout:
    layout = Layout()
    layout.words("signature", 0, 8, size=1)
    begin = 8
    while begin + 12 <= len(data):
        length = Field("chunk length", begin, 4)
        stop = begin + 12 + length.read(data)
        if stop > len(data):
            break
        name = data[begin + 4 : begin + 8].decode("latin-1")
        layout.fields += [length, Field("chunk name", begin + 4, 4), Field("chunk check", stop - 4, 4)]
        layout.blocks.append(Block(name, begin, stop))
        layout.words(name, begin + 8, stop - 4, size=1, most=40)
        layout.words(f"{name} words", begin + 8, stop - 4, most=8)
        begin = stop
    return layout


def with_right_checks(data: bytearray) -> None:
    """Every chunk gets the checksum of what it now holds."""
    begin = 8
    while begin + 12 <= len(data):
        end = begin + 8 + int.from_bytes(data[begin : begin + 4])
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[begin + 4 : end]).to_bytes(4)
        begin = end + 4


def webp_layout(data: bytes) -> Layout:
    layout = Layout()
    outer = Field("file size", 4, 4, "little")
    layout.fields += [outer, Field("form", 8, 4)]
    begin = 12
    while begin + 8 <= len(data):
        size = Field("chunk size", begin + 4, 4, "little")
        stop = begin + 8 + size.read(data)
        if stop > len(data):
            break
        name = data[begin : begin + 4].decode("latin-1")
        layout.fields += [size, Field("chunk name", begin, 4)]
        layout.blocks.append(Block(name, begin, stop + (stop & 1), (outer,)))
        layout.words(name, begin + 8, stop, size=1, most=48)
        begin = stop + (stop & 1)
    return layout


def heif_layout(data: bytes) -> Layout:
    layout = Layout()
    _boxes(layout, data, 0, len(data), ())
    return layout


def _boxes(layout: Layout, data: bytes, begin: int, end: int, around: tuple[Field, ...]) -> None:
    while begin + 8 <= end:
        length, kind = int.from_bytes(data[begin : begin + 4]), data[begin + 4 : begin + 8]
        if length < 8 or begin + length > end:
            return
        name, stop = kind.decode("latin-1"), begin + length
        size = Field(f"{name} size", begin, 4)
        layout.fields += [size, Field("box type", begin + 4, 4)]
        layout.blocks.append(Block(name, begin, stop, around))
        if kind in _HEIF_PARENTS:
            head = _HEIF_PARENTS[kind]
            layout.words(f"{name} head", begin + 8, begin + 8 + head, size=2)
            _boxes(layout, data, begin + 8 + head, stop, (*around, size))
        elif kind == b"mdat":
            layout.words("coded", begin + 8, stop, size=1, most=60)
        else:
            for width in (1, 2, 4):
                layout.words(f"{name} by {width}", begin + 8, stop, size=width, most=160 // width)
        begin = stop
