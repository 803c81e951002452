"""Makes of two MP4 or MOV files one whose tracks go on under a second description, as editors and joiners write it.

Only what is needed for that: whole files with their tables at the end (`moov`), the same tracks in the same order.
"""

from __future__ import annotations

import struct
from typing import Any

_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_Box = tuple[bytes, Any]


def parsed(data: bytes) -> list[_Box]:
    """A tree of boxes: (type, list of boxes or content)."""
    found: list[_Box] = []
    place = 0
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + size]
        found.append((kind, parsed(content) if kind in _PARENTS else content))
        place += size
    return found


def packed(tree: list[_Box]) -> bytes:
    """The bytes of a tree of boxes."""
    bodies = [(kind, packed(body) if isinstance(body, list) else body) for kind, body in tree]
    return b"".join(struct.pack(">I4s", len(body) + 8, kind) + body for kind, body in bodies)


def _within(tree, *names):
    for name in names:
        tree = next(body for kind, body in tree if kind == name)
    return tree


def _rows(table: bytes, columns: int, head: int = 8) -> list[tuple[int, ...]]:
    return [*struct.iter_unpack(f">{columns}I", table[head:])]


def _table(rows: list[tuple[int, ...]], head: bytes = bytes(4)) -> bytes:
    return head + struct.pack(">I", len(rows)) + b"".join(struct.pack(f">{len(row)}I", *row) for row in rows)


def joined(first: bytes, second: bytes) -> bytes:
    """One file with the samples of both; a description of the second that the first has too is not repeated."""
    trees = [parsed(first), parsed(second)]
    bodies = [packed([box for box in tree if box[0] != b"moov"]) for tree in trees]
    moovs = [_within(tree, b"moov") for tree in trees]
    assert [tree[-1][0] for tree in trees] == [b"moov", b"moov"]
    tracks = [[body for kind, body in moov if kind == b"trak"] for moov in moovs]
    for one, other in zip(*tracks, strict=True):
        tables = [dict(_within(track, b"mdia", b"minf", b"stbl")) for track in (one, other)]
        _join_tables(tables, len(bodies[0]))
        stbl = _within(one, b"mdia", b"minf", b"stbl")
        stbl[:] = [(kind, tables[0][kind]) for kind in tables[0]]
        one[:] = [box for box in one if box[0] != b"edts"]
        _double_duration(_within(one, b"mdia"), b"mdhd", 16)
        _double_duration(one, b"tkhd", 20)
    _double_duration(moovs[0], b"mvhd", 16)
    return bodies[0] + bodies[1] + packed([(b"moov", moovs[0])])


def _double_duration(tree, name, place):
    row = next(row for row, (kind, _) in enumerate(tree) if kind == name)
    body = tree[row][1]
    (duration,) = struct.unpack_from(">I", body, place)
    tree[row] = (name, body[:place] + struct.pack(">I", duration * 2) + body[place + 4 :])


def _join_tables(tables, moved):
    one, other = tables
    entries = [[packed([box]) for box in parsed(table[b"stsd"][8:])] for table in tables]
    if entries[1][0] not in entries[0]:
        entries[0].append(entries[1][0])
    number = entries[0].index(entries[1][0]) + 1
    one[b"stsd"] = bytes(4) + struct.pack(">I", len(entries[0])) + b"".join(entries[0])
    chunks = len(_rows(one[b"stco"], 1))
    later = [(first + chunks, samples, number) for first, samples, _ in _rows(other[b"stsc"], 3)]
    one[b"stsc"] = _table([*_rows(one[b"stsc"], 3), *later])
    one[b"stco"] = _table([*_rows(one[b"stco"], 1), *((at + moved,) for (at,) in _rows(other[b"stco"], 1))])
    sizes = [_sizes(table[b"stsz"]) for table in tables]
    one[b"stsz"] = _table([*sizes[0], *sizes[1]], bytes(8))
    one[b"stts"] = _table([*_rows(one[b"stts"], 2), *_rows(other[b"stts"], 2)])
    if b"stss" in one:
        one[b"stss"] = _table(
            [*_rows(one[b"stss"], 1), *((key + len(sizes[0]),) for (key,) in _rows(other[b"stss"], 1))]
        )
    for name in (b"sgpd", b"sbgp", b"sdtp"):
        one.pop(name, None)


def _sizes(table: bytes) -> list[tuple[int, ...]]:
    same, count = struct.unpack_from(">II", table, 4)
    return [(same,)] * count if same else _rows(table, 1, 12)


def in_fragments(fragmented: bytes, other: bytes, from_fragment: int) -> bytes:
    """A fragmented file whose fragments from a number on use a second description, that of another file's picture."""
    added = _within(parsed(other), b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")[8:]
    found, number = [], 0
    for kind, body in parsed(fragmented):
        if kind == b"moov":
            stbl = _within(body, b"trak", b"mdia", b"minf", b"stbl")
            row = next(row for row, (name, _) in enumerate(stbl) if name == b"stsd")
            stbl[row] = (b"stsd", bytes(4) + struct.pack(">I", 2) + stbl[row][1][8:] + added)
        if kind == b"moof":
            if number >= from_fragment:
                body = _of_the_second(body)  # noqa: PLW2901
            number += 1
        found.append((kind, body))
    return packed([box for box in found if box[0] not in {b"sidx", b"mfra"}])


def _of_the_second(moof: bytes) -> bytes:
    boxes = parsed(moof)
    row = next(row for row, (kind, _) in enumerate(boxes) if kind == b"traf")
    inner = dict(parsed(boxes[row][1]))
    head = inner[b"tfhd"]
    flags = int.from_bytes(head[:4]) | 2
    assert not flags & 1
    inner[b"tfhd"] = struct.pack(">I", flags) + head[4:8] + struct.pack(">I", 2) + head[8:]
    run = inner[b"trun"]
    assert int.from_bytes(run[:4]) & 1
    inner[b"trun"] = run[:8] + struct.pack(">I", int.from_bytes(run[8:12]) + 4) + run[12:]
    boxes[row] = (b"traf", packed([*inner.items()]))
    return packed(boxes)
