"""The small database in a HEIF file's `meta` box: items, places, properties and references, before any is believed.

Order inside the box is free, so items are created by whichever table names them first. Numbers are bounded here; what
they mean is judged in `picture_heif`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from faceflow.media.picture_boxes import IncompleteBoxError, Span
from faceflow.media.picture_header import corrupt, truncated

_MAX_ITEMS = 8192


@dataclass(slots=True)
class Item:
    """One item as stated.

    Attributes:
        kind: four letters, such as `hvc1`, `grid` or `Exif`.
        encrypted: whether its data are protected.
        properties: numbers of its properties, and whether each must be understood.
        extents: first byte and length of each piece of its data.
        elsewhere: whether its data lie in another file or item.
    """

    kind: bytes = b""
    encrypted: bool = False
    properties: list[tuple[int, bool]] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)
    elsewhere: bool = False


@dataclass(slots=True)
class Meta:
    """What the `meta` box says, before anything in it was believed."""

    primary: int | None = None
    items: dict[int, Item] = field(default_factory=dict)
    properties: list[tuple[bytes, Span]] = field(default_factory=list)
    references: list[tuple[bytes, int, list[int]]] = field(default_factory=list)
    idat: tuple[int, int] = (0, 0)
    in_idat: set[int] = field(default_factory=set)

    def of(self, item: int, name: bytes) -> list[Span]:
        """The properties of that name which belong to an item, each to be read from its beginning."""
        found = []
        for number, _ in self.items[item].properties:
            kind, content = self.properties[number]
            if kind == name:
                found.append(Span(content.data, content.position, content.end))
        return found

    def to(self, kind: bytes, origin: int) -> list[int]:
        """The items that one item refers to."""
        return next((targets for name, start, targets in self.references if (name, start) == (kind, origin)), [])

    def from_(self, kind: bytes, target: int) -> list[int]:
        """The items that refer to one item."""
        return [origin for name, origin, targets in self.references if name == kind and target in targets]


def read_meta(data: bytes, path: Path) -> Meta:
    """Reads a file's `meta` box; `path` is for messages. Raises `picture.truncated`, `picture.corrupt`."""
    meta = Meta()
    try:
        for name, content in Span(data, 0, len(data)).boxes():
            if name == b"meta":
                content.version()
                _fill(meta, content)
                return _checked(meta, path)
    except IncompleteBoxError as error:
        raise truncated(path) from error
    raise truncated(path)


def _fill(meta: Meta, content: Span) -> None:
    # Order inside is free, so items are created by whichever box names them first.
    for name, box in content.boxes():
        if name == b"pitm":
            version, _ = box.version()
            meta.primary = box.number(4 if version else 2)
        elif name == b"iinf":
            _fill_kinds(meta, box)
        elif name == b"iref":
            version, _ = box.version()
            for kind, inner in box.boxes():
                origin, count = inner.number(4 if version else 2), inner.number(2)
                meta.references.append((kind, origin, [inner.number(4 if version else 2) for _ in range(count)]))
        elif name == b"iprp":
            _fill_properties(meta, box)
        elif name == b"iloc":
            _fill_places(meta, box)
        elif name == b"idat":
            meta.idat = (box.position, box.end)


def _fill_kinds(meta: Meta, box: Span) -> None:
    version, _ = box.version()
    box.number(4 if version else 2)
    for name, entry in box.boxes():
        form, _ = entry.version()
        if name != b"infe" or form < 2:
            continue
        item = _item(meta, entry.number(4 if form == 3 else 2))
        item.encrypted = entry.number(2) != 0
        item.kind = entry.take(4)


def _fill_properties(meta: Meta, box: Span) -> None:
    for name, inner in box.boxes():
        if name == b"ipco":
            for kind, content in inner.boxes():
                meta.properties.append((kind, content))
        elif name == b"ipma":
            version, flags = inner.version()
            for _ in range(min(inner.number(4), _MAX_ITEMS)):
                item = _item(meta, inner.number(4 if version else 2))
                for _ in range(inner.number(1)):
                    stated = inner.number(2 if flags & 1 else 1)
                    top = 0x8000 if flags & 1 else 0x80
                    number = stated & (top - 1)
                    if number:
                        item.properties.append((number - 1, bool(stated & top)))


def _fill_places(meta: Meta, box: Span) -> None:
    version, _ = box.version()
    sizes, more = box.number(1), box.number(1)
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version in (1, 2) else 0
    for _ in range(min(box.number(4 if version == 2 else 2), _MAX_ITEMS)):
        number = box.number(4 if version == 2 else 2)
        item = _item(meta, number)
        method = box.number(2) & 15 if version in (1, 2) else 0
        item.elsewhere = box.number(2) != 0 or method > 1
        base = box.number(base_size)
        extents = []
        for _ in range(box.number(2)):
            box.number(index_size)
            extents.append((base + box.number(offset_size), box.number(length_size)))
        item.extents = extents
        if method == 1:
            meta.in_idat.add(number)


def _checked(meta: Meta, path: Path) -> Meta:
    """The same with all extents counted from the file's first byte, and with no property that is not there."""
    known = len(meta.properties)
    if any(number >= known for item in meta.items.values() for number, _ in item.properties):
        raise corrupt(path, "it refers to a property that does not exist")
    begin, end = meta.idat
    for number in meta.in_idat:
        item = meta.items[number]
        if any(offset + length > end - begin for offset, length in item.extents):
            raise corrupt(path, "an item extends beyond its box")
        item.extents = [(begin + offset, length or end - begin - offset) for offset, length in item.extents]
    return meta


def _item(meta: Meta, number: int) -> Item:
    if number not in meta.items and len(meta.items) >= _MAX_ITEMS:
        raise IncompleteBoxError
    return meta.items.setdefault(number, Item())
