"""AVI (RIFF chunks), FLV (tags) and ASF (objects)."""

from __future__ import annotations

from tests.fuzz.layout import Block, Field, Layout

_LISTS = frozenset({b"RIFF", b"LIST"})
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_EXTENSION = bytes.fromhex("b503bf5f2ea9cf118ee300c00c205365")


def avi_layout(data: bytes) -> Layout:
    layout = Layout()
    _chunks(layout, data, 0, len(data), ())
    return layout


def _chunks(layout: Layout, data: bytes, begin: int, end: int, around: tuple[Field, ...]) -> None:
    while begin + 8 <= end:
        kind, size = data[begin : begin + 4], Field("chunk size", begin + 4, 4, "little")
        payload = begin + 8
        stop = payload + size.read(data)
        if stop > end:
            return
        name = kind.decode("latin-1")
        layout.fields += [size, Field("chunk name", begin, 4)]
        layout.blocks.append(Block(name, begin, min(end, stop + (stop & 1)), around))
        if kind in _LISTS:
            layout.fields.append(Field("list name", payload, 4))
            _chunks(layout, data, payload + 4, stop, (*around, size))
        else:
            layout.words(name, payload, stop, order="little", most=24 if kind[2:] not in {b"dc", b"wb"} else 4)
            if kind == b"strf":
                layout.words("strf halves", payload, stop, size=2, order="little")
        begin = stop + (stop & 1)


def flv_layout(data: bytes) -> Layout:
    layout = Layout()
    layout.words("header", 0, 13, size=1)
    begin = 13
    while begin + 15 <= len(data):
        size = Field("tag size", begin + 1, 3)
        stop = begin + 11 + size.read(data)
        if stop + 4 > len(data):
            return layout
        layout.blocks.append(Block("tag", begin, stop + 4))
        layout.fields += [
            Field("tag kind", begin, 1),
            size,
            Field("tag time", begin + 4, 3),
            Field("tag time high", begin + 7, 1),
            Field("tag track", begin + 8, 3),
            Field("tag before", stop, 4),
        ]
        most = 400 if data[begin] == 18 else 60
        layout.words(f"tag {data[begin]}", begin + 11, stop, size=1, most=most)
        begin = stop + 4
    return layout


def asf_layout(data: bytes) -> Layout:
    layout = Layout()
    _objects(layout, data, 0, len(data), ())
    return layout


def _objects(layout: Layout, data: bytes, begin: int, end: int, around: tuple[Field, ...]) -> None:
    while begin + 24 <= end:
        kind, size = data[begin : begin + 16], Field("object size", begin + 16, 8, "little")
        stop = begin + size.read(data)
        if stop > end or stop < begin + 24:
            return
        name = kind[:4].hex()
        layout.fields += [size, Field("object size low", begin + 16, 4, "little"), Field("object kind", begin, 16)]
        layout.blocks.append(Block(name, begin, stop, around))
        payload = begin + 24
        if kind == _ASF_HEADER:
            layout.words("objects", payload, payload + 6, size=2, order="little")
            _objects(layout, data, payload + 6, stop, (*around, size))
        elif kind == _ASF_EXTENSION:
            layout.words("extension", payload, payload + 22, size=2, order="little")
            _objects(layout, data, payload + 22, stop, (*around, size))
        elif kind == _ASF_DATA:
            layout.words("data", payload, payload + 26, size=2, order="little")
            for packet in range(payload + 26, stop, 3200):  # FFmpeg's own length of a packet
                layout.blocks.append(Block("packet", packet, min(stop, packet + 3200)))
                layout.words("packet head", packet, stop, size=1, most=40)
        else:
            layout.words(name, payload, stop, order="little", most=60)
            layout.words(f"{name} halves", payload, stop, size=2, order="little", most=60)
        begin = stop
