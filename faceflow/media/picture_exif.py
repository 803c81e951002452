"""The EXIF block of a picture: read its orientation, and make it true again after the pixels were turned.

The block is a small TIFF file with offsets all over, in which camera makers keep private data that nobody else can
move. So it is never rebuilt: values are changed where they stand. Orientation becomes 1, the stated size becomes the
upright one, and the thumbnail is blanked, because it would show the face that was replaced. Where the place must not
be carried, the GPS directory is blanked too.
"""

from __future__ import annotations

from typing import Literal

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_SHORT, _LONG = 3, 4
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class _Tiff:
    """Entries of a TIFF block by tag, with a place to write new numbers to. ValueError where it contradicts itself."""

    def __init__(self, block: bytes) -> None:
        self.block = bytearray(block)
        orders: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
        if block[:4] not in orders:
            raise ValueError("not a TIFF block")
        self._order = orders[block[:4]]
        self.first = self.number(4, 4)

    def number(self, offset: int, size: int) -> int:
        if offset < 0 or offset + size > len(self.block):
            raise ValueError("an offset points outside the block")
        return int.from_bytes(self.block[offset : offset + size], self._order)

    def write(self, offset: int, size: int, value: int) -> None:
        self.number(offset, size)
        self.block[offset : offset + size] = value.to_bytes(size, self._order)

    def entries(self, directory: int) -> tuple[dict[int, tuple[int, int]], int]:
        """Offset and size of the number of every SHORT or LONG entry; and where the next directory is stated."""
        count = self.number(directory, 2)
        found: dict[int, tuple[int, int]] = {}
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            kind, values = self.number(entry + 2, 2), self.number(entry + 4, 4)
            if values == 1 and kind in (_SHORT, _LONG):
                found.setdefault(self.number(entry, 2), (entry + 8, 2 if kind == _SHORT else 4))
        return found, directory + 2 + 12 * count


def orientation_of(exif: bytes | None) -> int:
    """EXIF orientation, 1 to 8; 1 where none is stated or the block cannot be read."""
    if exif is None:
        return 1
    try:
        tiff = _Tiff(exif)
        place = tiff.entries(tiff.first)[0].get(_ORIENTATION)
        value = tiff.number(*place) if place else 1
    except ValueError:
        return 1
    return value if 1 <= value <= 8 else 1


def upright_exif(exif: bytes | None, width_px: int, height_px: int) -> bytes | None:
    """The block for the upright picture of the given size; None where it cannot be read.

    Orientation is 1, the stated pixel size is the given one and no thumbnail is left. All else is as it was.
    """
    if exif is None:
        return None
    try:
        tiff = _Tiff(exif)
        main, next_directory = tiff.entries(tiff.first)
        if _ORIENTATION in main:
            tiff.write(*main[_ORIENTATION], 1)
        if _EXIF_IFD in main:
            details, _ = tiff.entries(tiff.number(*main[_EXIF_IFD]))
            for tag, value in ((_PIXEL_WIDTH, width_px), (_PIXEL_HEIGHT, height_px)):
                if tag in details:
                    tiff.write(*details[tag], value)
        _remove_thumbnail(tiff, next_directory)
    except (ValueError, OverflowError):
        return None
    return bytes(tiff.block)


def _remove_thumbnail(tiff: _Tiff, next_directory: int) -> None:
    directory = tiff.number(next_directory, 4)
    if not directory:
        return
    entries, _ = tiff.entries(directory)
    if _THUMBNAIL_OFFSET in entries and _THUMBNAIL_LENGTH in entries:
        begin, length = tiff.number(*entries[_THUMBNAIL_OFFSET]), tiff.number(*entries[_THUMBNAIL_LENGTH])
        end = min(begin + length, len(tiff.block))
        tiff.block[begin:end] = bytes(max(end - begin, 0))
    tiff.write(next_directory, 4, 0)


def has_thumbnail(exif: bytes | None) -> bool:
    """Whether the block holds a second, small picture, which `upright_exif` removes."""
    try:
        tiff = _Tiff(exif or b"")
        directory = tiff.number(tiff.entries(tiff.first)[1], 4)
        return bool(directory) and _THUMBNAIL_OFFSET in tiff.entries(directory)[0]
    except ValueError:
        return False


def has_place(exif: bytes | None) -> bool:
    """Whether the block says where the picture was taken: a GPS directory, empty ones left aside."""
    try:
        tiff = _Tiff(exif or b"")
        return any(tiff.number(tiff.number(entry + 8, 4), 2) > 0 for _, entry in _gps_entries(tiff))
    except ValueError:
        return False


def without_place(exif: bytes | None) -> bytes | None:
    """The block without its GPS directory, whose bytes are blanked as well; None where the block cannot be read.

    What camera makers write into notes of their own is not known here and stays.
    """
    if exif is None:
        return None
    try:
        tiff = _Tiff(exif)
        for directory, entry in reversed(_gps_entries(tiff)):
            _blank_directory(tiff, tiff.number(entry + 8, 4))
            _remove_entry(tiff, directory, entry)
    except (ValueError, OverflowError):
        return None
    return bytes(tiff.block)


def _gps_entries(tiff: _Tiff) -> list[tuple[int, int]]:
    """Every entry that leads to a GPS directory, with the directory that it stands in."""
    details = tiff.entries(tiff.first)[0].get(_EXIF_IFD)
    directories = [tiff.first, *([tiff.number(*details)] if details else [])]
    return [
        (directory, entry)
        for directory in directories
        for entry in range(directory + 2, directory + 2 + 12 * tiff.number(directory, 2), 12)
        if tiff.number(entry, 2) == _GPS_IFD
    ]


def _blank_directory(tiff: _Tiff, directory: int) -> None:
    """Writes zeros over a directory and over the values that its entries point at."""
    count = tiff.number(directory, 2)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        size = _VALUE_BYTES.get(tiff.number(entry + 2, 2), 1) * tiff.number(entry + 4, 4)
        if size > 4:
            begin = tiff.number(entry + 8, 4)
            end = min(begin + size, len(tiff.block))
            tiff.block[begin:end] = bytes(max(end - begin, 0))
    end = min(directory + 2 + 12 * count + 4, len(tiff.block))
    tiff.block[directory:end] = bytes(end - directory)


def _remove_entry(tiff: _Tiff, directory: int, entry: int) -> None:
    """Takes an entry out of its directory: those behind it, and the link to the next directory, move up."""
    count = tiff.number(directory, 2)
    end = directory + 2 + 12 * count + 4
    tiff.number(end - 4, 4)
    tiff.block[entry:end] = tiff.block[entry + 12 : end] + bytes(12)
    tiff.write(directory, 2, count - 1)
