"""The boxes of ISO base media files, as far as still pictures need them: HEIF, HEIC and AVIF.

These files look like an MP4 from outside, and their brands are often wrong: programs rename and patch them. So what a
file is, is told by what lies in it. A still picture has a `meta` box with the handler `pict` and a primary item; an
image sequence has a `moov` box with picture tracks; a video has a `moov` box with video tracks. Brands decide only
where a file holds both, or where so much is missing that nothing else is left.

Every number here was written by anyone: a `Span` never reads beyond its end, and the count of boxes is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

MediaNature = Literal["still", "sequence", "video"]

_MAX_BOXES = 20_000
_MAX_TRACKS = 64
_FIRST_BOXES = frozenset({b"ftyp", b"styp"})
_PICTURE_BRANDS = frozenset(
    {
        b"mif1",
        b"mif2",
        b"mif3",
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"avif",
        b"avci",
        b"jpeg",
        b"vvic",
        b"evbi",
        b"1pic",
    }
)
_SEQUENCE_BRANDS = frozenset({b"msf1", b"hevc", b"hevx", b"hevm", b"hevs", b"avis", b"avcs", b"jpgs", b"vvis"})
_PICTURE_HANDLERS = frozenset({b"pict", b"auxv"})
_HEAD_BYTES = 16


class IncompleteBoxError(Exception):
    """A box or a number lies beyond the end of what holds it."""


@dataclass(slots=True)
class Span:
    """A stretch of a file that is read number by number.

    Attributes:
        data: the whole file.
        position: the next byte.
        end: the first byte that no longer belongs to it.
    """

    data: bytes
    position: int
    end: int

    def number(self, size: int) -> int:
        """The next `size` bytes (0 to 8) as a number; IncompleteBoxError beyond the end."""
        return int.from_bytes(self.take(size))

    def take(self, size: int) -> bytes:
        """The next `size` bytes; IncompleteBoxError beyond the end."""
        begin = self.position
        if size < 0 or begin + size > min(self.end, len(self.data)):
            raise IncompleteBoxError
        self.position = begin + size
        return self.data[begin : self.position]

    def rest(self) -> bytes:
        """Everything that is left of it."""
        return self.take(self.end - self.position)

    def text(self) -> bytes:
        """Bytes up to the next zero, which is passed over."""
        stop = self.data.find(b"\0", self.position, self.end)
        if stop < 0:
            raise IncompleteBoxError
        found = self.data[self.position : stop]
        self.position = stop + 1
        return found

    def version(self) -> tuple[int, int]:
        """Version and flags, with which a full box begins."""
        both = self.number(4)
        return both >> 24, both & 0xFFFFFF

    def boxes(self) -> Iterator[tuple[bytes, Span]]:
        """Name and content of each box in it; IncompleteBoxError where one ends beyond it, or there are too many."""
        for _ in range(_MAX_BOXES):
            if self.position + 8 > self.end:
                return
            begin = self.position
            length, name = self.number(4), self.take(4)
            if length == 1:
                length = self.number(8)
            elif length == 0:
                length = self.end - begin
            if length < self.position - begin or begin + length > self.end:
                raise IncompleteBoxError
            content = Span(self.data, self.position, begin + length)
            self.position = begin + length
            yield name, content
        raise IncompleteBoxError


def nature_of(file: BinaryIO, size: int) -> MediaNature | None:
    """What an ISO base media file holds, in a few seeks; None for any other file. Raises OSError only.

    Args:
        file: open for reading.
        size: bytes of the file.
    """
    brands = _brands(file)
    if not brands:
        return None
    handlers: set[bytes] = set()
    still = film = False
    for name, begin, end in _seek_boxes(file, 0, size):
        if name == b"meta":
            still = still or _handler(file, begin + 4, min(end, size)) == b"pict"
        elif name == b"moov":
            film = True
            handlers |= _track_handlers(file, begin, min(end, size))
    pictures, moving = handlers & _PICTURE_HANDLERS, b"vide" in handlers
    named = bool(brands & (_PICTURE_BRANDS | _SEQUENCE_BRANDS))
    if pictures and (not moving or named):
        return "sequence"
    if still:
        return "still" if named or not moving else "video"
    if film or not named:
        return "video"
    return "sequence" if brands <= _SEQUENCE_BRANDS | {b"iso8", b"mp41", b"mp42"} else "still"


def _brands(file: BinaryIO) -> set[bytes]:
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head[4:8] not in _FIRST_BOXES:
        return set()
    length = min(max(int.from_bytes(head[:4]), _HEAD_BYTES), 1024)
    compatible = file.read(length - _HEAD_BYTES)
    whole = len(compatible) // 4 * 4
    return {head[8:12], *(compatible[place : place + 4] for place in range(0, whole, 4))}


def _seek_boxes(file: BinaryIO, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte of the content and end as stated, of each box; stops where sizes make no sense."""
    for _ in range(_MAX_BOXES):
        if position + 8 > end:
            return
        file.seek(position)
        header = file.read(_HEAD_BYTES)
        length, begin = int.from_bytes(header[:4]), position + 8
        if length == 1:
            length, begin = int.from_bytes(header[8:16]), position + 16
        elif length == 0:
            length = end - position
        if length < begin - position:
            return
        yield header[4:8], begin, position + length
        position += length


def _handler(file: BinaryIO, begin: int, end: int) -> bytes | None:
    """The kind of media that an `hdlr` box in this stretch states."""
    for name, inner, _ in _seek_boxes(file, begin, end):
        if name == b"hdlr":
            file.seek(inner + 8)
            return file.read(4)
    return None


def _track_handlers(file: BinaryIO, begin: int, end: int) -> set[bytes]:
    found: set[bytes] = set()
    tracks = [(inner, stop) for name, inner, stop in _seek_boxes(file, begin, end) if name == b"trak"]
    for inner, stop in tracks[:_MAX_TRACKS]:
        for name, media, media_end in _seek_boxes(file, inner, min(stop, end)):
            if name == b"mdia":
                found.add(_handler(file, media, min(media_end, end)) or b"")
    return found
