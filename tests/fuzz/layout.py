"""Where the numbers and the parts of a media file lie, so that a mutation strikes what a demuxer believes.

A random byte of a clip is nearly always a byte of a picture. What makes a demuxer allocate, loop, divide or seek are
the few numbers of its headers. So a reader for each container (`layout_mp4`, `layout_matroska`, ...) walks over a whole
file and lists its numbers (`Field`) and its parts (`Block`); what is done to them is the same for all (`mutate`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Order = Literal["big", "little"]


@dataclass(frozen=True, slots=True)
class Field:
    """A number of a header.

    Attributes:
        name: what it belongs to; a mutation chooses a name first, so that a long table is not struck all the time.
        begin, size: its bytes.
        order: which of them comes first.
        marked: the top bits of the first byte tell the length (EBML); they stay as they are where there is room.
    """

    name: str
    begin: int
    size: int
    order: Order = "big"
    marked: bool = False

    def read(self, data: bytes | bytearray) -> int:
        value = int.from_bytes(data[self.begin : self.begin + self.size], self.order)
        return value & ((1 << 7 * self.size) - 1) if self.marked else value

    def write(self, data: bytearray, value: int) -> None:
        """Writes the number, cut to its bytes."""
        if self.begin + self.size > len(data):
            return
        bits = (7 if self.marked else 8) * self.size
        value &= (1 << bits) - 1
        if self.marked:
            value |= 1 << bits
        data[self.begin : self.begin + self.size] = value.to_bytes(self.size, self.order)


@dataclass(frozen=True, slots=True)
class Block:
    """A part that can be cut out, doubled or moved, with the size fields of the parts around it."""

    name: str
    begin: int
    end: int
    around: tuple[Field, ...] = ()


@dataclass(slots=True)
class Layout:
    """All of a file's fields and blocks."""

    fields: list[Field] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def words(self, name: str, begin: int, end: int, *, size: int = 4, order: Order = "big", most: int = 24) -> None:
        """Lists the first `most` words between `begin` and `end`."""
        for place in range(begin, min(end, begin + most * size), size):
            if place + size <= end:
                self.fields.append(Field(name, place, size, order))
