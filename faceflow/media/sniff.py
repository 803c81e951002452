"""What a file is, read from its own bytes before any demuxer sees it.

A demuxer is a large parser that follows what the file tells it. Three questions are answered first, with a few
seeks and no allocation that the file can choose: is it a playlist (text that makes a player open *other* files),
does its container say that it is longer than it is (a broken download), and is it encrypted. The answers also tell
apart a damaged video from a file that never was one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 4096
_MAX_BOXES = 100_000
"""Boxes that are looked at in one file, at whatever depth."""
_PLAYLIST_STARTS = (
    b"#extm3u",
    b"ffconcat version",
    b"[playlist]",
    b"[reference]",
    b"<asx",
    b"<smil",
    b"<mpd",
    b"<smoothstreamingmedia",
    b"rtsptext",
    b"smptext",
)
_MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof", b"pnot", b"uuid"})
_ASF_HEADER = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_SIGNATURES = {
    b"\x1a\x45\xdf\xa3": "matroska",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpeg",
    b"FLV\x01": "flv",
    _ASF_HEADER: "asf",
}
_PARENT_BOXES = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_ENCRYPTED_ENTRIES = frozenset({b"encv", b"enca", b"enct", b"drmi", b"drms"})
_EBML_SEGMENT = 0x18538067
_EBML_UNKNOWN_SIZE = -1


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the first bytes and the container's own sizes say.

    Attributes:
        container: `mp4`, `matroska`, `avi`, `mpegts`, `mpeg`, `flv`, `asf`, or None where no signature was found.
        playlist: the file is text that points at other files.
        missing_bytes: how many bytes the container announces beyond the file's end; 0 where it is complete.
        encrypted: a track's sample entry is marked as encrypted (common encryption, FairPlay).
        joined: a second file of the same kind begins where the first one ends; demuxers would not see it.
    """

    container: str | None
    playlist: bool = False
    missing_bytes: int = 0
    encrypted: bool = False
    joined: bool = False


def sniff(path: Path) -> Sniffed:
    """Looks at a file's signature and sizes. Reads a few KiB whatever the file holds; raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if _is_playlist(head):
            return Sniffed(None, playlist=True)
        container = _container(head)
        if container == "mp4":
            return _sniff_mp4(file, size)
        if container == "matroska":
            missing = _missing_matroska(head, size)
            return Sniffed(
                container,
                missing_bytes=max(0, missing),
                joined=missing < 0 and _follows(file, size + missing, b"\x1a\x45\xdf\xa3"),
            )
        if container == "avi":
            end = int.from_bytes(head[4:8], "little") + 8
            joined = _follows(file, end + end % 2, b"RIFF") and file.read(8)[4:] == b"AVI "  # AVIX goes on
            return Sniffed(container, missing_bytes=max(0, end - size), joined=joined)
        return Sniffed(container, joined=container == "asf" and _has_second_asf(file, size))


def _is_playlist(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        return any(mark in text for mark in (b"<mpd", b"<smil", b"<smoothstreamingmedia", b"<asx"))
    if text.startswith(b"v=0") and any(mark in text for mark in (b"\nm=", b"\no=", b"\nc=")):
        return True  # SDP
    return text.startswith(_PLAYLIST_STARTS)


def _container(head: bytes) -> str | None:
    if head[4:8] in _MP4_FIRST_BOXES:
        return "mp4"
    if head.startswith(b"RIFF"):
        return "avi" if head[8:12] in {b"AVI ", b"AVIX"} else None
    if any(
        len(head) > first + step and head[first] == head[first + step] == 0x47 for first, step in ((0, 188), (4, 192))
    ):
        return "mpegts"
    return next((name for start, name in _SIGNATURES.items() if head.startswith(start)), None)


def _sniff_mp4(file: BinaryIO, size: int) -> Sniffed:
    missing = 0
    encrypted = False
    begun: Counter[bytes] = Counter()
    left = repeat(None, _MAX_BOXES)
    for kind, begin, end in boxes(file, 0, size, left):
        missing = max(missing, end - size)
        begun[kind] += 1
        if kind == b"moov":
            encrypted = encrypted or _has_encrypted_entry(file, begin, min(end, size), left)
    joined = begun[b"ftyp"] > 1 and begun[b"moov"] > 1
    return Sniffed("mp4", missing_bytes=missing, encrypted=encrypted, joined=joined)


def _follows(file: BinaryIO, position: int, signature: bytes) -> bool:
    """Whether the bytes at `position` are `signature`."""
    file.seek(position)
    return file.read(len(signature)) == signature


def _has_second_asf(file: BinaryIO, size: int) -> bool:
    """Whether another header object follows the objects of an ASF file; a size of 0 says that nothing is known."""
    position = headers = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        head = file.read(24)
        headers += head.startswith(_ASF_HEADER)
        length = int.from_bytes(head[16:24], "little")
        if headers > 1 or length < 24 or position + length >= size:
            break
        position += length
    return headers > 1


def boxes(file: BinaryIO, position: int, end: int, left: Iterator[None]) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, first byte of the payload, end as the box states it); stops where sizes make no sense.

    Takes one of `left` for each box, and stops where none is.
    """
    for _ in left:
        if position + 8 > end:
            return
        file.seek(position)
        header = file.read(16)
        length, kind, payload = int.from_bytes(header[:4], "big"), header[4:8], position + 8
        if length == 1:
            length, payload = int.from_bytes(header[8:16], "big"), position + 16
        elif length == 0:
            length = end - position
        if length < payload - position or not kind.isascii():
            return
        yield kind, payload, position + length
        position += length


def _has_encrypted_entry(file: BinaryIO, begin: int, end: int, left: Iterator[None]) -> bool:
    parents = [(begin, end)]  # a list, not calls: a file nests its boxes as deep as it likes
    while parents:
        begin, end = parents.pop()
        for kind, inner, inner_end in boxes(file, begin, end, left):
            stop = min(inner_end, end)
            if kind in _PARENT_BOXES:
                parents.append((inner, stop))
            elif kind == b"stsd" and any(
                entry in _ENCRYPTED_ENTRIES for entry, _, _ in boxes(file, inner + 8, stop, left)
            ):
                return True
    return False


def _missing_matroska(head: bytes, size: int) -> int:
    """Bytes that the segment announces beyond the file's end; negative where something follows it."""
    _, header_bytes, position = _ebml_element(head, 0)
    kind, segment_bytes, payload = _ebml_element(head, position + max(header_bytes, 0))
    if kind != _EBML_SEGMENT or segment_bytes == _EBML_UNKNOWN_SIZE:
        return 0
    return payload + segment_bytes - size


def _ebml_element(head: bytes, position: int) -> tuple[int, int, int]:
    """Reads (id, payload bytes or -1 where unknown, first byte of the payload); id 0 past the end."""
    values = []
    for keep_marker in (True, False):
        if position >= len(head) or head[position] == 0:
            return 0, _EBML_UNKNOWN_SIZE, position
        length = 9 - head[position].bit_length()
        if position + length > len(head):
            return 0, _EBML_UNKNOWN_SIZE, position
        value = int.from_bytes(head[position : position + length], "big")
        marker = 1 << (7 * length)
        if not keep_marker:
            value = _EBML_UNKNOWN_SIZE if value == 2 * marker - 1 else value - marker
        values.append(value)
        position += length
    return values[0], values[1], position
