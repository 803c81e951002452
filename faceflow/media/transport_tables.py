"""The tables of an MPEG transport stream (ISO/IEC 13818-1): which program has which tracks, of which codec.

Sections come in pieces of packets and are repeated several times a second. They are put together, and only one that
differs from the one before is looked at; one whose checksum is wrong says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

_PROGRAM_ASSOCIATION, _PROGRAM_MAP = 0, 2
_LONGEST_SECTION = 4096
_MOST_SECTIONS = 10_000
"""Most different sections that are read; a film has a few, and no file may make this the work of hours."""
_CRC_POLYNOMIAL = 0x04C11DB7
_MPEG_VIDEO, _MPEG_AUDIO = ("video", "mpeg2video"), ("audio", "mp2")
_KINDS = {
    0x01: _MPEG_VIDEO,
    0x02: _MPEG_VIDEO,
    0x03: _MPEG_AUDIO,
    0x04: _MPEG_AUDIO,
    0x0F: ("audio", "aac"),
    0x10: ("video", "mpeg4"),
    0x11: ("audio", "aac_latm"),
    0x1B: ("video", "h264"),
    0x1C: ("audio", "aac"),
    0x21: ("video", "jpeg2000"),
    0x24: ("video", "hevc"),
    0x32: ("video", "jpegxs"),
    0x33: ("video", "vvc"),
    0x42: ("video", "cavs"),
    0x81: ("audio", "ac3"),
    0x83: ("audio", "truehd"),
    0x84: ("audio", "eac3"),
    0x85: ("audio", "dts"),
    0x87: ("audio", "eac3"),
    0x90: ("subtitle", "hdmv_pgs_subtitle"),
    0xD1: ("video", "dirac"),
    0xD2: ("video", "avs2"),
    0xD4: ("video", "avs3"),
    0xEA: ("video", "vc1"),
}
_KINDS_OF_DISCS = {0x80: ("audio", "pcm_bluray"), 0x82: ("audio", "dts"), 0x86: ("audio", "dts")}
_DESCRIBED = {
    0x56: ("subtitle", "dvb_teletext"),
    0x59: ("subtitle", "dvb_subtitle"),
    0x6A: ("audio", "ac3"),
    0x7A: ("audio", "eac3"),
    0x7B: ("audio", "dts"),
    0x7C: ("audio", "aac"),
}
_REGISTERED = {
    b"AC-3": ("audio", "ac3"),
    b"EAC3": ("audio", "eac3"),
    b"BSSD": ("audio", "s302m"),
    b"Opus": ("audio", "opus"),
    b"DTS1": ("audio", "dts"),
    b"DTS2": ("audio", "dts"),
    b"DTS3": ("audio", "dts"),
    b"HEVC": ("video", "hevc"),
    b"AV01": ("video", "av1"),
    b"VC-1": ("video", "vc1"),
    b"drac": ("video", "dirac"),
}
_REGISTRATION = 0x05


class Tables:
    """What the tables said last.

    Attributes:
        pids: where tables are.
        tracks: (kind, codec) of each track's PID.
    """

    def __init__(self) -> None:
        self.pids = {0}
        self.tracks: dict[int, tuple[str, str]] = {}
        self._pieces: dict[int, bytearray] = {}
        self._last: dict[tuple[int, int, int], bytes] = {}
        self._read_sections = 0

    def take(self, pid: int, payload: bytes, *, begins: bool) -> bool:
        """Reads a packet of a table's PID.

        Args:
            pid: of the packet.
            payload: what it carries.
            begins: whether a section begins in it.

        Returns:
            Whether it made `pids` or `tracks` another.
        """
        piece = self._pieces.get(pid)
        if begins:
            first = 1 + payload[0] if payload else 1
            ended = b"" if piece is None else bytes(piece) + payload[1:first]
            self._pieces[pid] = bytearray(payload[first:])
        elif piece is None:
            return False
        else:
            piece += payload
            ended = b""
        changed = False
        for data in (ended, bytes(self._pieces[pid])):
            for section in _sections(data):
                changed = self._read(pid, section) or changed
        rest = self._pieces[pid]
        if not _is_open(rest):
            del self._pieces[pid]
        return changed

    def _read(self, pid: int, section: bytes) -> bool:
        key = (pid, section[0], int.from_bytes(section[3:5], "big"))
        if self._last.get(key) == section or not section[5] & 1 or _checksum(section) != 0:
            return False
        if self._read_sections >= _MOST_SECTIONS:
            return False
        self._read_sections += 1
        self._last[key] = section
        body = section[8:-4]
        if section[0] == _PROGRAM_ASSOCIATION and pid == 0:
            found = {
                int.from_bytes(body[place + 2 : place + 4], "big") & 0x1FFF
                for place in range(0, len(body) - 3, 4)
                if body[place : place + 2] != b"\0\0"
            }
            changed = not found <= self.pids
            self.pids |= found
            return changed
        if section[0] == _PROGRAM_MAP and pid != 0:
            before, self.tracks = self.tracks, self.tracks | _tracks(body)
            return self.tracks != before
        return False


def _sections(data: bytes) -> Iterator[bytes]:
    """Yields the whole sections at the beginning of `data`."""
    place = 0
    while place + 3 <= len(data) and data[place] != 0xFF:
        end = place + 3 + _length(data, place)
        if end > len(data):
            return
        if end - place >= 12:
            yield data[place:end]
        place = end


def _is_open(data: bytearray) -> bool:
    """Whether more packets belong to the section that `data` ends with."""
    place = 0
    while place + 3 <= len(data) and data[place] != 0xFF:
        place += 3 + _length(data, place)
    return len(data) < _LONGEST_SECTION and (place > len(data) or 0 < len(data) - place < 3)


def _length(data: bytes | bytearray, place: int) -> int:
    return int.from_bytes(data[place + 1 : place + 3], "big") & 0x0FFF


def _tracks(body: bytes) -> dict[int, tuple[str, str]]:
    """The tracks of a program map: (kind, codec) by PID."""
    program_end = 4 + (int.from_bytes(body[2:4], "big") & 0x0FFF)
    is_disc = (_REGISTRATION, b"HDMV") in ((tag, text[:4]) for tag, text in _descriptors(body[4:program_end]))
    found = {}
    place = program_end
    while place + 5 <= len(body):
        kind = body[place]
        pid = int.from_bytes(body[place + 1 : place + 3], "big") & 0x1FFF
        end = place + 5 + (int.from_bytes(body[place + 3 : place + 5], "big") & 0x0FFF)
        found[pid] = _kind(kind, body[place + 5 : end], is_disc=is_disc)
        place = end
    return found


def _kind(number: int, descriptors: bytes, *, is_disc: bool) -> tuple[str, str]:
    if is_disc and number in _KINDS_OF_DISCS:
        return _KINDS_OF_DISCS[number]
    if number in _KINDS:
        return _KINDS[number]
    for tag, text in _descriptors(descriptors):
        if tag in _DESCRIBED:
            return _DESCRIBED[tag]
        if tag == _REGISTRATION and text[:4] in _REGISTERED:
            return _REGISTERED[text[:4]]
    return "data", f"type {number:#x}"


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 2 <= len(data):
        end = place + 2 + data[place + 1]
        yield data[place], data[place + 2 : end]
        place = end


def _checksum(section: bytes) -> int:
    """CRC-32 of MPEG-2 (annex A); 0 over a section with its own checksum."""
    value = 0xFFFFFFFF
    for byte in section:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[(value >> 24) ^ byte]
    return value


def _crc_of_byte(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 & 0xFFFFFFFF) ^ (_CRC_POLYNOMIAL if value & 0x80000000 else 0)
    return value


_CRC = tuple(_crc_of_byte(byte) for byte in range(256))
