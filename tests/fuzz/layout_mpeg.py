"""MPEG's transport and program streams (ISO/IEC 13818-1): packets, tables of programs, time stamps."""

from __future__ import annotations

from itertools import pairwise

from tests.fuzz.layout import Block, Field, Layout

PACKET = 188
_TABLES = frozenset({0, 17, 4096})
"""Packet identities of the tables that FFmpeg writes: programs, services, the map of the first program."""


def transport_layout(data: bytes) -> Layout:
    layout = Layout()
    for begin in range(0, len(data) - PACKET + 1, PACKET):
        layout.blocks.append(Block("packet", begin, begin + PACKET))
        layout.fields += [
            Field("sync", begin, 1),
            Field("packet identity", begin + 1, 2),
            Field("continuity", begin + 3, 1),
        ]
        payload = begin + 4
        if data[begin + 3] & 0x20:  # an adaptation field
            length = data[payload]
            layout.fields += [Field("adaptation length", payload, 1), Field("adaptation flags", payload + 1, 1)]
            layout.words("clock reference", payload + 2, payload + 1 + length, size=2, most=3)
            payload += 1 + length
        if not data[begin + 1] & 0x40 or payload >= begin + PACKET:
            continue
        identity = int.from_bytes(data[begin + 1 : begin + 3], "big") & 0x1FFF
        if identity in _TABLES:
            length = int.from_bytes(data[payload + 2 : payload + 4], "big") & 0xFFF
            layout.fields += [Field("table pointer", payload, 1), Field("table length", payload + 2, 2)]
            layout.words(f"table {identity}", payload + 1, payload + 4 + length, size=1, most=180)
        else:
            _packetized(layout, data, payload, begin + PACKET)
    return layout


def program_layout(data: bytes) -> Layout:
    layout = Layout()
    starts = []
    begin = data.find(b"\0\0\1")
    while begin >= 0 and begin + 4 <= len(data):
        if data[begin + 3] >= 0xB9:
            starts.append(begin)
        begin = data.find(b"\0\0\1", begin + 3)
    starts.append(len(data))
    for begin, end in pairwise(starts):
        kind = data[begin + 3]
        layout.blocks.append(Block(f"{kind:x}", begin, end))
        if kind in {0xB9, 0xBA}:
            layout.words("pack", begin, end, size=1, most=14)
        elif kind == 0xBB:
            layout.words("system", begin + 3, end, size=1, most=24)
        else:
            _packetized(layout, data, begin, end)
    return layout


def _packetized(layout: Layout, data: bytes, begin: int, end: int) -> None:
    if data[begin : begin + 3] != b"\0\0\1" or begin + 9 > end:
        return
    layout.fields += [
        Field("start code", begin, 4),
        Field("stream identity", begin + 3, 1),
        Field("stream length", begin + 4, 2),
        Field("stream flags", begin + 6, 2),
        Field("stream header length", begin + 8, 1),
    ]
    layout.words("time stamp", begin + 9, begin + 9 + data[begin + 8], size=1, most=10)
    layout.words("time stamp high", begin + 9, begin + 13, size=4)
    layout.words("payload head", begin + 9 + data[begin + 8], end, size=1, most=24)


def with_checked_tables(data: bytearray) -> None:
    """Writes the checksum that every table's bytes have now, so that a demuxer goes on to read them."""
    for begin in range(0, len(data) - PACKET + 1, PACKET):
        if data[begin] != 0x47 or not data[begin + 1] & 0x40:
            continue
        identity = int.from_bytes(data[begin + 1 : begin + 3], "big") & 0x1FFF
        if identity not in _TABLES:
            continue
        payload = begin + 4 + (1 + data[begin + 4] if data[begin + 3] & 0x20 else 0)
        if payload >= begin + PACKET - 4:
            continue
        table = payload + 1 + data[payload]
        length = 3 + (int.from_bytes(data[table + 1 : table + 3], "big") & 0xFFF)
        if length >= 8 and table + length <= begin + PACKET:
            check = _crc32_mpeg(data[table : table + length - 4])
            data[table + length - 4 : table + length] = check.to_bytes(4, "big")


def _crc32_mpeg(data: bytes | bytearray) -> int:
    check = 0xFFFFFFFF
    for byte in data:
        check ^= byte << 24
        for _ in range(8):
            check = (check << 1 ^ 0x04C11DB7 if check & 0x80000000 else check << 1) & 0xFFFFFFFF
    return check
