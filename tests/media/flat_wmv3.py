"""Writes WMV 9 (`wmv3`, VC-1 simple profile), for which there is no free encoder: intra frames of one flat colour each.

A flat frame needs few of the codec's tables. Every block is predicted from its neighbours, so only the first of each
plane has a difference to code; all others have none, and no block has more than its mean (SMPTE 421M, 7 and 8).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_QUANTISER = 31
_UNIFORM = 3
_LUMA = ((1, 1), (1, 2), (1, 4), (1, 5), (5, 5), (7, 5), (8, 6), (12, 6), (0, 7), (2, 7), (18, 7), (26, 7))
_CHROMA = ((0, 2), (1, 2), (5, 3), (9, 4), (13, 4), (17, 5), (29, 5), (31, 5))
"""Code and its length for differences 0, 1, ... of a block's mean: the first of the two tables of each kind."""
SEQUENCE = (
    (0, 2), (0, 1), (0, 1), (0, 3), (0, 5), (0, 1), (0, 1), (0, 1), (1, 1), (1, 1), (0, 1), (0, 2),
    (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 3), (_UNIFORM, 2), (0, 1), (1, 1),
)  # fmt: skip
"""The sequence header: simple profile, the usual transform, no B-frames, one quantiser a frame."""

Differences = tuple[int, int, int]
"""Of Y (-11 to 11), Cb and Cr (-7 to 7) from the middle of their range, in steps of the quantiser."""


def _packed(bits: Sequence[tuple[int, int]]) -> bytes:
    text = "".join(f"{value:0{length}b}" for value, length in bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8)


def _mean(difference: int, table: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [table[abs(difference)], *([(int(difference < 0), 1)] if difference else [])]


def frame(width: int, height: int, colour: Differences) -> bytes:
    """One intra frame; sides are multiples of 16."""
    bits = [(0, 2), (0, 1), (0, 7), (_QUANTISER, 5), (0, 1), (0, 1), (0, 1)]  # type, buffer, quantiser, tables
    for block in range(width * height // 256):
        luma, *chroma = colour if block == 0 else (0, 0, 0)
        bits += [(1, 1), (0, 1)]  # nothing but means; no prediction of the rest
        for each in (luma, 0, 0, 0):
            bits += _mean(each, _LUMA)
        for each in chroma:
            bits += _mean(each, _CHROMA)
    return _packed(bits)


def raw_stream(width: int, height: int, rate: int, colours: Sequence[Differences]) -> bytes:
    """A file of frames as SMPTE's test streams are (`.rcv`, FFmpeg's `vc1test`)."""
    head = len(colours).to_bytes(3, "little") + b"\xc5" + struct.pack("<I", 4) + _packed(SEQUENCE)
    head += struct.pack("<IIIIII", height, width, 12, 0, 0, rate)
    frames = [frame(width, height, colour) for colour in colours]
    return head + b"".join(
        len(data).to_bytes(3, "little") + b"\x80" + struct.pack("<I", number) + data
        for number, data in enumerate(frames)
    )
