"""Protocol Buffers by hand: as much of the wire format as it takes to look into a model file and to write parts anew.

A model file is one message of half a gigabyte, most of it weights. Reading it with a parser makes a copy of all of
them, often two. Here a message is a list of positions in a mapped file: weights are skipped, never read. Format:
https://protobuf.dev/programming-guides/encoding (varint, 64-bit, length-delimited, 32-bit).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap

Buffer = bytes | mmap

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MOST_FIELDS = 1 << 20
"""Fields of one message; networks have some thousands. A file full of tiny ones must not become as many objects."""
_MOST = (1 << 64) - 1
"""A number has 64 bits; what its tenth byte has beyond them is dropped, as other readers do."""


class WireError(ValueError):
    """The bytes are not a message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: the field's number in the message's definition.
        begin, end: where the field lies, with its tag.
        first: where its content begins (it ends at `end`).
        value: the number itself where the field is a varint, else 0.
    """

    number: int
    begin: int
    end: int
    first: int
    value: int


def fields(buffer: Buffer, begin: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message at `begin` to `end`, in the file's order. Raises `WireError`."""
    stop = len(buffer) if end is None else end
    place = begin
    for _ in range(_MOST_FIELDS):
        if place >= stop:
            return
        tag, first = _varint(buffer, place, stop)
        kind, value = tag & 7, 0
        if kind == _VARINT:
            value, after = _varint(buffer, first, stop)
        elif kind == _FIXED64:
            after = first + 8
        elif kind == _FIXED32:
            after = first + 4
        elif kind == _BYTES:
            length, first = _varint(buffer, first, stop)
            after = first + length
        else:
            raise WireError(f"unknown wire type {kind}")
        if after > stop:
            raise WireError("a field extends beyond its message")
        yield Field(tag >> 3, place, after, first, value)
        place = after
    raise WireError("a message has too many fields")


def varints(buffer: Buffer, field: Field) -> list[int]:
    """The numbers of a packed field, as signed 64-bit integers."""
    numbers, place = [], field.first
    while place < field.end:
        number, place = _varint(buffer, place, field.end)
        numbers.append(signed(number))
    return numbers


def signed(number: int) -> int:
    """A varint read as a signed 64-bit integer."""
    return number - (1 << 64) if number >= 1 << 63 else number


def varint_field(number: int, value: int) -> bytes:
    """A field that holds a number."""
    return _encoded(number << 3 | _VARINT) + _encoded(value & (1 << 64) - 1)


def bytes_field(number: int, content: bytes | Sequence[bytes]) -> bytes:
    """A field that holds bytes, a text or a message (whose fields may be given one by one)."""
    joined = content if isinstance(content, bytes) else b"".join(content)
    return _encoded(number << 3 | _BYTES) + _encoded(len(joined)) + joined


def _varint(buffer: Buffer, place: int, stop: int) -> tuple[int, int]:
    number = 0
    for count in range(_LONGEST_VARINT):
        if place + count >= stop:
            break
        byte = buffer[place + count]
        number |= (byte & 127) << 7 * count
        if byte < 128:
            return number & _MOST, place + count + 1
    raise WireError("a number does not end")


def _encoded(number: int) -> bytes:
    coded = bytearray()
    while number > 127:
        coded.append(number & 127 | 128)
        number >>= 7
    coded.append(number)
    return bytes(coded)
