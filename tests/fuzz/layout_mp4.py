"""MP4 and MOV: boxes (ISO/IEC 14496-12), each with its size, its type and tables of 32-bit words."""

from __future__ import annotations

from tests.fuzz.layout import Block, Field, Layout

_PARENTS = frozenset(
    b"moov trak mdia minf stbl edts dinf udta moof traf mvex ilst mfra gmhd tref wave".split(),
)
_HEADS = {"soun": 28, "vide": 78}
"""Bytes of a sample entry before the boxes inside it, its own size and type not counted."""
_PICTURES = frozenset(b"avc1 hvc1 hev1 mp4v av01 vp09 apcn apch ap4h jpeg mjpa png\x20 raw\x20 FFV1".split())
_SOUNDS = frozenset(b"mp4a sowt twos ac-3 ec-3 alac Opus fLaC in24 lpcm ipcm .mp3 ulaw".split())


def mp4_layout(data: bytes) -> Layout:
    layout = Layout()
    _boxes(layout, data, 0, len(data), ())
    return layout


def _boxes(layout: Layout, data: bytes, begin: int, end: int, around: tuple[Field, ...]) -> None:
    while begin + 8 <= end:
        length, kind = int.from_bytes(data[begin : begin + 4], "big"), data[begin + 4 : begin + 8]
        if length < 8 or begin + length > end:
            return
        name, stop = kind.decode("latin-1"), begin + length
        size = Field(f"{name} size", begin, 4)
        layout.fields += [size, Field("box type", begin + 4, 4)]
        layout.blocks.append(Block(name, begin, stop, around))
        inside, payload = (*around, size), begin + 8
        if kind in _PARENTS:
            _boxes(layout, data, payload, stop, inside)
        elif kind == b"stsd":
            layout.words("stsd", payload, payload + 8)
            _boxes(layout, data, payload + 8, stop, inside)
        elif kind == b"meta":
            layout.words("meta", payload, payload + 4)
            _boxes(layout, data, payload + 4, stop, inside)
        elif kind in _PICTURES or kind in _SOUNDS:
            head = _HEADS["vide" if kind in _PICTURES else "soun"]
            layout.words(f"{name} entry", payload, payload + head, size=2, most=64)
            _boxes(layout, data, payload + head, stop, inside)
        elif kind in {b"avcC", b"hvcC", b"esds", b"av1C", b"dOps", b"dac3", b"colr", b"pasp", b"fiel", b"data"}:
            layout.words(name, payload, stop, size=1, most=160)
        elif kind != b"mdat":
            layout.words(name, payload, stop, most=40)
            if length > 400:  # the end of a long table too
                layout.words(name, stop - 8, stop)
        begin = stop
