"""Refuses MP4 and MOV tracks that go on under another description (sample entry) which nobody would follow.

A track of these containers may describe its samples several times, and say from which one on each description holds:
editors and programs that put recordings one after the other write that. FFmpeg follows a new set-up of the same codec.
It passes over descriptions of another codec and gives their samples to the first one's decoder; of sizes, proportions
and colours in later descriptions it says nothing; of fragmented files it drops what does not belong to the first. So
the tables are read here, and what would be lost or shown wrong is refused with the second where it begins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import MediaError
from faceflow.media.sniff import boxes

_MAX_BOXES = 200_000
_MAX_ENTRIES = 64
_MAX_ENTRY_BYTES = 1 << 20
_MAX_TABLE_BYTES = 64 << 20
_PICTURE_HEAD_BYTES, _SIZE_AT = 78, 24
_SHOWN = {b"pasp": "proportions", b"colr": "colours", b"clap": "crop", b"mdcv": "HDR metadata", b"clli": "HDR metadata"}
_SELF_DESCRIBING = frozenset({b"mp4a", b".mp3", b"ac-3", b"ec-3"})
"""Sound whose packets, or new set-ups of whose decoder, `sound_forms` follows."""
_DESCRIPTION_STATED, _OFFSET_STATED = 0x2, 0x1

_Words = NDArray[np.int64]


@dataclass(slots=True)
class _Track:
    """What a track's tables say.

    Attributes:
        number: its id.
        clock_hz: ticks of its times a second.
        entries: descriptions, from their type on.
        runs: (N, 3) first chunk, samples a chunk and number of the description, each counted from 1.
        steps: (N, 2) samples and ticks of each.
        in_fragments: numbers of the descriptions that fragments use.
    """

    number: int = 0
    clock_hz: int = 0
    entries: list[bytes] = field(default_factory=list)
    runs: _Words = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    steps: _Words = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    in_fragments: list[int] = field(default_factory=list)

    def used(self) -> Iterator[tuple[bytes, int]]:
        """Each description with the number of the first sample under it, in the order in which they are used."""
        seen: set[int] = set()
        chunks = np.diff(self.runs[:, 0], append=self.runs[-1:, 0] + 1)
        before = np.cumsum(chunks * self.runs[:, 1]) - chunks * self.runs[:, 1]
        for number, sample in zip(self.runs[:, 2].tolist(), before.tolist(), strict=True):
            if number not in seen and 1 <= number <= len(self.entries):
                seen.add(number)
                yield self.entries[number - 1], sample

    def time_s(self, sample: int) -> float | None:
        """When a sample is decoded; None where the tables do not reach it."""
        ends = np.cumsum(self.steps[:, 0])
        row = int(np.searchsorted(ends, sample, side="right"))
        if row >= len(ends) or not self.clock_hz:
            return None
        ticks = int((self.steps[:row, 0] * self.steps[:row, 1]).sum())
        into = sample - (int(ends[row - 1]) if row else 0)
        return (ticks + into * int(self.steps[row, 1])) / self.clock_hz


def check_sample_entries(path: Path, film: int, sounds: Collection[int]) -> None:
    """Looks at the descriptions that the film and the sounds of an MP4 or MOV file use.

    Args:
        path: the file.
        film: id of the track that was taken for the film.
        sounds: ids of its sound tracks.

    Raises:
        MediaError: `media.track_changes`, `media.size_changes`, `media.picture_changes`.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        tracks = _tracks(file, path.stat().st_size)
    for track in tracks:
        if len(track.entries) < 2 or track.number not in {film, *sounds}:
            continue
        name = "picture" if track.number == film else "sound"
        numbers = {number for number in track.in_fragments if 1 <= number <= len(track.entries)}
        if len({track.entries[number - 1] for number in numbers}) > 1:
            raise _goes_on(path, name, None, "its fragments use several descriptions")
        _check_used(path, name, track)


def _check_used(path: Path, name: str, track: _Track) -> None:
    used = list(track.used())
    for entry, sample in used[1:]:
        first, at_s = used[0][0], track.time_s(sample)
        if entry[:4] != first[:4]:
            raise _goes_on(path, name, at_s, f"{_shown(entry[:4])} follows {_shown(first[:4])}")
        if name == "sound":
            if entry != first and entry[:4] not in _SELF_DESCRIBING:
                raise _goes_on(path, name, at_s, f"{_shown(entry[:4])} has a new description")
            continue
        before, now = (_size(each) for each in (first, entry))
        if before != now:
            raise _described_anew(path, "media.size_changes", at_s, sample, f"its size changes from {before} to {now}")
        for kind, words in _SHOWN.items():
            if _box(first, kind) != _box(entry, kind):
                raise _described_anew(path, "media.picture_changes", at_s, sample, f"its {words} change")


def _size(entry: bytes) -> str:
    width, height = (int.from_bytes(entry[place : place + 2]) for place in (_SIZE_AT + 4, _SIZE_AT + 6))
    return f"{width}x{height}"


def _box(entry: bytes, kind: bytes) -> bytes | None:
    """The content of a box inside a picture's description; square pixels count as not stated."""
    place = 4 + _PICTURE_HEAD_BYTES
    while place + 8 <= len(entry):
        length = int.from_bytes(entry[place : place + 4])
        if length < 8:
            return None
        if entry[place + 4 : place + 8] == kind:
            content = entry[place + 8 : place + length]
            return None if kind == b"pasp" and content[:4] == content[4:8] else content
        place += length
    return None


def _shown(kind: bytes) -> str:
    return repr(kind.decode("latin-1"))


def _at(at_s: float | None) -> str:
    return "" if at_s is None else f" at {at_s:.1f} s"


def _goes_on(path: Path, name: str, at_s: float | None, what: str) -> MediaError:
    return MediaError(
        "media.track_changes",
        f"The {name} of {path} continues in another form{_at(at_s)}: {what}.",
        "Cut the file there and process the pieces one by one, or convert it with a video editor that joins both.",
        at_s=at_s,
    )


def _described_anew(path: Path, code: str, at_s: float | None, frame: int, what: str) -> MediaError:
    return MediaError(
        code,
        f"The picture of {path} changes its description{_at(at_s)}: {what}.",
        "Cut the video there and process the pieces one by one, or convert it so that it is the same throughout.",
        frame=frame,
    )


def _tracks(file: BinaryIO, size: int) -> list[_Track]:
    left = repeat(None, _MAX_BOXES)
    found: list[_Track] = []
    usual: dict[int, int] = {}
    for kind, begin, end in boxes(file, 0, size, left):
        if kind == b"moov":
            for inner, first, stop in boxes(file, begin, min(end, size), left):
                if inner == b"trak":
                    found.append(_Track())
                    _read_track(file, found[-1], first, min(stop, size), left)
                elif inner == b"mvex":
                    for name, place, _ in boxes(file, first, min(stop, size), left):
                        if name == b"trex":
                            number, description = _words(file, place + 4, 8, 2).ravel().tolist() or (0, 0)
                            usual[number] = description
        elif kind == b"moof" and any(len(track.entries) > 1 for track in found):
            for inner, first, stop in boxes(file, begin, min(end, size), left):
                if inner == b"traf":
                    _read_fragment(file, found, usual, first, min(stop, size), left)
    return found


def _read_fragment(
    file: BinaryIO, tracks: list[_Track], usual: dict[int, int], begin: int, end: int, left: Iterator[None]
) -> None:
    for kind, place, stop in boxes(file, begin, end, left):
        if kind == b"tfhd" and stop - place >= 8:
            flags, number = _words(file, place, 8, 2).ravel().tolist() or (0, 0)
            at = place + 8 + (8 if flags & _OFFSET_STATED else 0)
            description = usual.get(number, 1)
            if flags & _DESCRIPTION_STATED and stop - at >= 4:
                description = int(_words(file, at, 4, 1).sum())
            for track in tracks:
                if track.number == number and description not in track.in_fragments:
                    track.in_fragments.append(description)


def _read_track(file: BinaryIO, track: _Track, begin: int, end: int, left: Iterator[None]) -> None:
    parents = [(begin, end)]
    while parents:
        begin, end = parents.pop()
        for kind, place, stop in boxes(file, begin, end, left):
            stop = min(stop, end)  # noqa: PLW2901 - no box is longer than the one around it
            if kind in {b"mdia", b"minf", b"stbl"}:
                parents.append((place, stop))
            elif kind in {b"tkhd", b"mdhd"}:
                file.seek(place)
                at = place + (20 if file.read(1) == b"\1" else 12)
                number = int(_words(file, at, 4, 1).sum())
                if kind == b"tkhd":
                    track.number = number
                else:
                    track.clock_hz = number
            elif kind == b"stsd":
                for entry, first, last in boxes(file, place + 8, stop, left):
                    if len(track.entries) == _MAX_ENTRIES:
                        break
                    file.seek(first)
                    track.entries.append(entry + file.read(min(last - first, _MAX_ENTRY_BYTES)))
            elif kind == b"stsc":
                track.runs = _words(file, place + 8, stop - place - 8, 3)
            elif kind == b"stts":
                track.steps = _words(file, place + 8, stop - place - 8, 2)


def _words(file: BinaryIO, place: int, length: int, columns: int) -> _Words:
    """Rows of 32-bit numbers: (N, columns)."""
    file.seek(place)
    data = file.read(max(0, min(length, _MAX_TABLE_BYTES)))
    row = 4 * columns
    return np.frombuffer(data[: len(data) // row * row], ">u4").reshape(-1, columns).astype(np.int64)
