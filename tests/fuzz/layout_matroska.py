"""Matroska and WebM: EBML elements (RFC 8794), each with an identity, a length of its own width and a value."""

from __future__ import annotations

from tests.fuzz.layout import Block, Field, Layout

_MASTERS = frozenset(
    {
        0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB, 0xB7,
        0x1043A770, 0x45B9, 0xB6, 0x80, 0x1254C367, 0x7373, 0x63C0, 0x67C8, 0x114D9B74, 0x4DBB, 0x55B0, 0x55D0,
        0x6D80, 0x6240, 0x5034, 0x5035, 0x7670, 0x1941A469, 0x61A7, 0x41E4, 0x75A1, 0xA6,
    }
)  # fmt: skip
_SIMPLE_BLOCK, _BLOCK = 0xA3, 0xA1
_CODEC_PRIVATE = 0x63A2


def matroska_layout(data: bytes) -> Layout:
    layout = Layout()
    _elements(layout, data, 0, len(data), ())
    return layout


def _elements(layout: Layout, data: bytes, begin: int, end: int, around: tuple[Field, ...]) -> None:
    while begin < end:
        kind_bytes = _width(data, begin, 4)
        size_bytes = _width(data, begin + kind_bytes, 8) if kind_bytes else 0
        if not size_bytes:
            return
        kind = int.from_bytes(data[begin : begin + kind_bytes], "big")
        name = f"{kind:x}"
        size = Field(f"{name} size", begin + kind_bytes, size_bytes, marked=True)
        payload = begin + kind_bytes + size_bytes
        length = size.read(data)
        if length == (1 << 7 * size_bytes) - 1:  # unknown: to the end
            length = end - payload
        stop = payload + length
        if stop > end:
            return
        layout.fields += [size, Field("identity", begin, kind_bytes), Field("raw size", begin + kind_bytes, size_bytes)]
        layout.blocks.append(Block(name, begin, stop, around))
        if kind in _MASTERS:
            _elements(layout, data, payload, stop, (*around, size))
        elif kind in {_SIMPLE_BLOCK, _BLOCK}:
            layout.fields += [
                Field("block track", payload, 1),
                Field("block time", payload + 1, 2),
                Field("block flags", payload + 3, 1),
            ]
            layout.words("block lacing", payload + 4, stop, size=1, most=8)
        elif kind == _CODEC_PRIVATE:
            layout.words(name, payload, stop, size=1, most=160)
        elif 1 <= length <= 8:
            layout.fields.append(Field(name, payload, length))
        else:
            layout.words(name, payload, stop)
        begin = stop


def _width(data: bytes, begin: int, most: int) -> int:
    """How many bytes a number with a length marker takes; 0 where there is none."""
    if begin >= len(data) or not data[begin]:
        return 0
    width = 9 - data[begin].bit_length()
    return width if width <= most and begin + width <= len(data) else 0
