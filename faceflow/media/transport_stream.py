"""Which tracks an MPEG transport stream has from its beginning to its end, read from its packets.

FFmpeg lists the tracks of the first seconds; what the tables announce later gives no packets. So the whole file is
read once, as bytes: each packet's header says to which track it belongs, the tables in between what that track is.
Packets are looked at in blocks of some thousands at once, so this takes about as long as reading the file, and a
block is all that is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceflow.media.track_spans import TrackSpan
from faceflow.media.transport_tables import Tables

_SYNC = 0x47
_SIZES = (188, 192, 204)
"""Bytes a packet: plain, with a time code before it (m2ts), with parity after it."""
_PACKETS_IN_A_ROW = 5
_BLOCK_BYTES = 4 << 20
_MOST_POSITIONS = 2_000_000
"""Most packets of one track that are remembered: nine hours of 60 pictures a second, in 16 MB."""
_CLOCK_HZ = 90_000
_CLOCK_TURN = 1 << 33

_Headers = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]


def transport_spans(path: Path) -> list[TrackSpan]:
    """Reads a transport stream of packets of 188, 192 or 204 bytes to its end.

    Returns:
        Its tracks by PID, as its tables describe them, with first and last byte; empty where there are no tables.
    """
    scan = _Scan()
    for position, packets in _blocks(path):
        scan.look(position, packets)
    return scan.spans()


def _blocks(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yields (position in the file, packets: uint8 (N, 188..204) from their sync byte on)."""
    data, position, size, ended = b"", 0, 0, False
    with path.open("rb", buffering=0) as file:
        while not ended:
            more = file.read(_BLOCK_BYTES)
            data, ended = data + more, not more
            place = 0
            while True:
                if size == 0 and (found := _lock(data, place, ended=ended)) is not None:
                    place, size = found
                if size == 0:
                    place = max(place, len(data) - 204 * _PACKETS_IN_A_ROW)
                    break
                count = (len(data) - place) // size
                packets = np.frombuffer(data, np.uint8, count * size, place).reshape(count, size)
                whole = packets[:, 0] == _SYNC
                good = count if bool(whole.all()) else int(np.argmin(whole))
                if good:
                    yield position + place, packets[:good]
                place += good * size
                if good == count:
                    if ended and len(data) - place >= 188 and data[place] == _SYNC:
                        yield position + place, np.frombuffer(data, np.uint8, 188, place).reshape(1, 188)
                    break
                size = 0
            data, position = data[place:], position + place


def _lock(data: bytes, place: int, *, ended: bool) -> tuple[int, int] | None:
    """Finds where packets begin: (first sync byte, bytes a packet)."""
    while (place := data.find(_SYNC, place)) >= 0:
        for size in _SIZES:
            ends = range(place, min(len(data), place + _PACKETS_IN_A_ROW * size), size)
            enough = len(ends) == _PACKETS_IN_A_ROW or (ended and len(ends) > 1)
            if enough and all(data[end] == _SYNC for end in ends):
                return place, size
        place += 1
    return None


class _Scan:
    def __init__(self) -> None:
        self._tables = Tables()
        self._spans: dict[tuple[int, str], TrackSpan] = {}
        self._clock_begins: int | None = None

    def look(self, position: int, packets: NDArray[np.uint8]) -> None:
        """Looks at packets that lie one after the other from a position of the file on."""
        head = packets[:, 1].astype(np.int64)
        pids = (head & 0x1F) << 8 | packets[:, 2]
        usable = (head & 0x80 == 0) & (packets[:, 3] & 0x10 != 0)
        begins = head & 0x40 != 0
        headers: _Headers = (pids, usable, begins)
        done = 0
        tables = self._table_rows(headers, done)
        while tables:
            row = tables.pop(0)
            before = self._tables.tracks
            if self._tables.take(int(pids[row]), _payload(packets[row]), begins=bool(begins[row])):
                self._count(position, packets, headers, slice(done, row), before)
                done = row
                tables = self._table_rows(headers, row + 1)
        self._count(position, packets, headers, slice(done, len(packets)), self._tables.tracks)

    def _table_rows(self, headers: _Headers, begin: int) -> list[int]:
        pids, usable, _ = headers
        rows = np.flatnonzero(np.isin(pids[begin:], list(self._tables.pids)) & usable[begin:]) + begin
        return [int(row) for row in rows]

    def _count(
        self,
        position: int,
        packets: NDArray[np.uint8],
        headers: _Headers,
        rows: slice,
        tracks: dict[int, tuple[str, str]],
    ) -> None:
        pids, usable, begins = (column[rows] for column in headers)
        stride = packets.strides[0]
        starts = np.flatnonzero(usable & begins)
        for pid in np.unique(pids[starts]):
            if int(pid) not in tracks:
                continue
            own = starts[pids[starts] == pid]
            kind, codec = tracks[int(pid)]
            first, last = int(own[0]) + rows.start, int(own[-1]) + rows.start
            span = self._spans.setdefault((int(pid), codec), TrackSpan(kind, codec, int(pid)))
            if len(span.positions) < _MOST_POSITIONS:
                span.positions.frombytes((position + (own + rows.start) * float(stride)).tobytes())
            if kind in {"video", "audio"}:
                self._time(span, packets[first], packets[last])

    def _time(self, span: TrackSpan, first: NDArray[np.uint8], last: NDArray[np.uint8]) -> None:
        times = [_presentation_ticks(_payload(packet)) for packet in (first, last)]
        if self._clock_begins is None:
            self._clock_begins = times[0]
        if self._clock_begins is None:
            return
        seconds = [None if ticks is None else _since(ticks, self._clock_begins) for ticks in times]
        if span.first_s is None:
            span.first_s = seconds[0]
        if seconds[1] is not None:
            span.last_s = seconds[1]

    def spans(self) -> list[TrackSpan]:
        return list(self._spans.values())


def _payload(packet: NDArray[np.uint8]) -> bytes:
    data = packet[:188].tobytes()
    return data[5 + data[4] :] if data[3] & 0x20 else data[4:]


def _since(ticks: int, begin: int) -> float:
    """Seconds from one time of the clock to another; the clock turns over every 26.5 hours."""
    passed = (ticks - begin) % _CLOCK_TURN
    return (passed if passed < _CLOCK_TURN // 2 else passed - _CLOCK_TURN) / _CLOCK_HZ


def _presentation_ticks(payload: bytes) -> int | None:
    """The presentation time at the head of a packet of an elementary stream (2.4.3.6), 90 kHz."""
    if len(payload) < 14 or payload[:3] != b"\0\0\1" or not payload[7] & 0x80:
        return None
    field = int.from_bytes(payload[9:14], "big")
    return (field >> 33 & 7) << 30 | (field >> 17 & 0x7FFF) << 15 | (field >> 1 & 0x7FFF)
