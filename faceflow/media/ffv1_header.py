"""Which version of FFV1 a track is written in, from its own header.

Versions 0, 1 and 3 are settled (RFC 9043). Version 4 is an experiment that changes with every FFmpeg, so a decoder
takes the header of another FFmpeg's for a damaged one.

The header is coded by a range coder whose every state begins at 128 of 256. The version is its first number and uses
no state twice, so no state has to be kept here.
"""

from __future__ import annotations

_SETTLED_VERSION = 3
_EVEN = 128
_MOST_BITS = 8


def is_experimental_ffv1(codec: str, header: bytes | None) -> bool:
    """Whether a track is FFV1 of a version that is not settled yet.

    Args:
        codec: the track's codec, as FFmpeg names it.
        header: its extradata.
    """
    return codec == "ffv1" and header is not None and len(header) > 2 and _version(header) > _SETTLED_VERSION


def _version(header: bytes) -> int:
    """The first number of the header: whether it is zero, how many bits it has in unary, these (RFC 9043, 3.8.1.2)."""
    bits = _Bits(header)
    if bits.next():
        return 0
    length = 0
    while length < _MOST_BITS and bits.next():
        length += 1
    value = 1
    for _ in range(length):
        value = value * 2 + bits.next()
    return value


class _Bits:
    """A range coder's bits as long as each has a new state."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 2
        self._low, self._range = int.from_bytes(data[:2]), 0xFF00

    def next(self) -> bool:
        upper = self._range * _EVEN >> 8
        self._range -= upper
        bit = self._low >= self._range
        if bit:
            self._low -= self._range
            self._range = upper
        if self._range < 0x100:
            more = self._data[self._place] if self._place < len(self._data) else 0
            self._low, self._range, self._place = (self._low << 8) + more, self._range << 8, self._place + 1
        return bit
