"""The headers of a HEIF file (HEIC, AVIF): which item is the picture, of what it is made and how it is shown.

A HEIF file is a small database: items (pieces of coded data), properties (size, codec set-up, colour, rotation, crop)
and references between items (tile of a grid, alpha of, EXIF of). A phone's photograph is a grid of 48 or so HEVC tiles
with a thumbnail, a gain map and an EXIF block beside it. Only the primary item is used, with its tiles and its alpha.

Pixels are counted here, before any decoder is started: `ispe` states the size of every item, a decoder is told to
refuse more than that (`picture_items`), and what it returns must have that size. Coded in HEVC or AV1, plain, as a grid
or as an identity derivation; everything else is named and refused. What a file holds besides (`extras`) is told, not
carried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from faceflow.errors import PictureError
from faceflow.media.picture_boxes import IncompleteBoxError, Span
from faceflow.media.picture_cicp import Cicp
from faceflow.media.picture_header import (
    MAX_PROFILE_BYTES,
    CheckSize,
    PictureHeader,
    corrupt,
    truncated,
    unsupported,
)
from faceflow.media.picture_items import Codec, CodedItem, HeifPicture, Turn

_MAX_ITEMS = 8192
_MAX_TILES = 4096
_MAX_DEPTH = 4
_CODECS: dict[bytes, Codec] = {b"hvc1": "hevc", b"hev1": "hevc", b"av01": "av1"}
_CODEC_SETUP = {"hevc": b"hvcC", "av1": b"av1C"}
_NAMES = {
    b"jpeg": "HEIF (JPEG-coded)",
    b"avc1": "HEIF (H.264-coded)",
    b"vvc1": "HEIF (VVC-coded)",
    b"evc1": "HEIF (EVC-coded)",
    b"j2k1": "HEIF (JPEG 2000-coded)",
    b"lhv1": "HEIF (layered HEVC)",
    b"unci": "HEIF (uncompressed)",
    b"iovl": "HEIF (overlay)",
    b"tmap": "HEIF (tone-mapped)",
    b"tili": "HEIF (tiled)",
}
_UNDERSTOOD = frozenset(
    {b"ispe", b"pixi", b"hvcC", b"av1C", b"colr", b"irot", b"imir", b"clap", b"auxC", b"pasp", b"clli", b"mdcv"}
    | {b"a1op", b"a1lx", b"lsel", b"cclv", b"amve", b"rloc", b"udes", b"altt", b"rref", b"crtt", b"mdft"}
)
_ALPHA = frozenset({b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"})
_DEPTHS = (8, 10, 12)


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    encrypted: bool = False
    properties: list[tuple[int, bool]] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)
    elsewhere: bool = False


@dataclass(slots=True)
class _Meta:
    """What the `meta` box says, before anything in it was believed."""

    primary: int | None = None
    items: dict[int, _Item] = field(default_factory=dict)
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


def read_heif_header(data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    """The header of the HEIF or AVIF file `data`; `path` is for messages.

    Raises:
        PictureError: `picture.truncated`, `picture.corrupt`, `picture.format_unsupported`, and what `check_size`
            raises.
    """
    meta = _read_meta(data, path)
    try:
        return _header(meta, data, path, check_size)
    except IncompleteBoxError as error:
        raise corrupt(path, "a property of its picture is incomplete") from error


def _header(meta: _Meta, data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    if meta.primary is None or meta.primary not in meta.items:
        raise corrupt(path, "it does not state which of its items is the picture")
    picture = _picture(meta, meta.primary, data, path, check_size, 0)
    alphas = [
        item for item in meta.from_(b"auxl", meta.primary) if item in meta.items and _aux_kind(meta, item) in _ALPHA
    ]
    if alphas:
        alpha = _picture(meta, alphas[0], data, path, check_size, 1)
        if (alpha.width_px, alpha.height_px) != (picture.width_px, picture.height_px):
            raise corrupt(path, "its transparency and its picture differ in size")
        picture = picture.with_alpha(alpha, premultiplied=alphas[0] in meta.to(b"prem", meta.primary))
    width, height = picture.upright_size()
    if width < 1 or height < 1:
        raise corrupt(path, "it is cropped to nothing")
    check_size(width, height)
    return PictureHeader(
        kind="avif" if picture.tiles[0].codec == "av1" else "heif",
        width_px=width,
        height_px=height,
        bit_depth=8 if picture.bit_depth == 8 else 16,
        lossless=False,
        icc=picture.icc,
        exif=_exif(meta, data),
        cicp=picture.cicp,
        oriented_by_exif=False,
        heif=picture,
        extras=tuple(_extras(meta)),
    )


def _picture(meta: _Meta, item: int, data: bytes, path: Path, check_size: CheckSize, depth: int) -> HeifPicture:
    """An item with its size, tiles, transforms and colour; follows identity derivations a few steps."""
    stated = meta.items[item]
    _refuse_unknown(meta, item, path)
    turns = _turns(meta, item, path)
    if stated.kind == b"iden":
        origins = meta.to(b"dimg", item)
        if len(origins) != 1 or origins[0] not in meta.items or depth >= _MAX_DEPTH:
            raise corrupt(path, "its picture is derived from nothing")
        origin = _picture(meta, origins[0], data, path, check_size, depth + 1)
        return origin.turned(turns, _cicp(meta, item), _icc(meta, item))
    size = _size(meta, item, path)
    check_size(*size)
    if stated.kind == b"grid":
        columns, tiles, size = _grid(meta, item, size, data, path, check_size)
        first = meta.to(b"dimg", item)[0]
    elif stated.kind in _CODECS:
        columns, tiles, first = 1, (_coded(meta, item, size, data, path),), item
    else:
        raise _refused(stated.kind, path)
    return HeifPicture(
        width_px=size[0],
        height_px=size[1],
        columns=columns,
        tiles=tiles,
        turns=turns,
        bit_depth=_bit_depth(tiles[0], path),
        cicp=_cicp(meta, item) or _cicp(meta, first),
        icc=_icc(meta, item) or _icc(meta, first),
    )


def _grid(
    meta: _Meta, item: int, size: tuple[int, int], data: bytes, path: Path, check_size: CheckSize
) -> tuple[int, tuple[CodedItem, ...], tuple[int, int]]:
    """Columns and tiles of a grid, and the size that it states itself."""
    content = _payload(meta, item, data, path)
    inner = Span(content, 0, len(content))
    _, flags = inner.number(1), inner.number(1)
    rows, columns = inner.number(1) + 1, inner.number(1) + 1
    number = 4 if flags & 1 else 2
    own = inner.number(number), inner.number(number)
    check_size(*own)
    numbers = meta.to(b"dimg", item)
    if own != size or len(numbers) != rows * columns or any(tile not in meta.items for tile in numbers):
        raise corrupt(path, "its grid of tiles is not complete")
    if len(numbers) > _MAX_TILES:
        raise corrupt(path, f"it has more than {_MAX_TILES} tiles")
    for tile in set(numbers):
        _refuse_unknown(meta, tile, path)
        if meta.items[tile].kind not in _CODECS:
            raise _refused(meta.items[tile].kind, path)
    side = _size(meta, numbers[0], path)
    # A tile that lies wholly outside would be decoded for nothing.
    covers = all(
        (count - 1) * one < whole <= count * one for count, one, whole in zip((columns, rows), side, own, strict=True)
    )
    if not covers or any(_size(meta, tile, path) != side for tile in set(numbers)):
        raise corrupt(path, "its tiles do not match its size")
    check_size(*side)
    return columns, tuple(_coded(meta, tile, side, data, path) for tile in numbers), own


def _coded(meta: _Meta, item: int, size: tuple[int, int], data: bytes, path: Path) -> CodedItem:
    codec = _CODECS[meta.items[item].kind]
    setup = meta.of(item, _CODEC_SETUP[codec])
    if not setup:
        raise corrupt(path, "its decoder configuration is missing")
    if meta.items[item].encrypted:
        raise unsupported(path, "encrypted HEIF")
    _check_extents(meta, item, data, path)
    extents = tuple(meta.items[item].extents)
    return CodedItem(codec=codec, setup=setup[0].rest(), extents=extents, width_px=size[0], height_px=size[1])


def _check_extents(meta: _Meta, item: int, data: bytes, path: Path) -> None:
    stated = meta.items[item]
    if stated.elsewhere:
        raise unsupported(path, "HEIF (with its data in another file or item)")
    if not stated.extents:
        raise corrupt(path, "it has no data for its picture")
    if any(begin + length > len(data) for begin, length in stated.extents):
        raise truncated(path)
    if sum(length for _, length in stated.extents) > len(data):
        raise corrupt(path, "parts of its data are used more than once")


def _payload(meta: _Meta, item: int, data: bytes, path: Path) -> bytes:
    _check_extents(meta, item, data, path)
    return b"".join(data[begin : begin + length] for begin, length in meta.items[item].extents)


def _refuse_unknown(meta: _Meta, item: int, path: Path) -> None:
    """A property that must be understood, and is not, would make another picture of it."""
    for number, essential in meta.items[item].properties:
        name = meta.properties[number][0]
        if essential and name not in _UNDERSTOOD:
            raise unsupported(path, f"HEIF (with the property {_shown(name)})")


def _refused(kind: bytes, path: Path) -> PictureError:
    return unsupported(path, _NAMES.get(kind, f"HEIF (of the kind {_shown(kind)})"))


def _shown(name: bytes) -> str:
    return repr(name.decode("ascii", "replace"))


def _size(meta: _Meta, item: int, path: Path) -> tuple[int, int]:
    found = meta.of(item, b"ispe")
    if not found:
        raise corrupt(path, "its size is not stated")
    found[0].version()
    width, height = found[0].number(4), found[0].number(4)
    if not width or not height:
        raise corrupt(path, f"its header states {width}x{height} pixels")
    return width, height


def _bit_depth(tile: CodedItem, path: Path) -> int:
    """Bits of a sample as the decoder's set-up states them, which every such item has; `pixi` often lacks."""
    setup = tile.setup
    if tile.codec == "hevc":
        if len(setup) < 23:
            raise corrupt(path, "its decoder configuration is incomplete")
        depth = (setup[17] & 7) + 8
    else:
        if len(setup) < 4:
            raise corrupt(path, "its decoder configuration is incomplete")
        depth = (12 if setup[2] & 0x20 else 10) if setup[2] & 0x40 else 8
    if depth not in _DEPTHS:
        raise unsupported(path, f"{depth}-bit HEIF")
    return depth


def _turns(meta: _Meta, item: int, path: Path) -> tuple[Turn, ...]:
    """Crops, rotations and mirrors in the order in which the item lists them."""
    turns: list[Turn] = []
    for number, _ in meta.items[item].properties:
        name, content = meta.properties[number]
        span = Span(content.data, content.position, content.end)
        if name == b"irot":
            turns.append(Turn(quarter_turns=span.number(1) & 3))
        elif name == b"imir":
            turns.append(Turn(mirrored="left-right" if span.number(1) & 1 else "top-bottom"))
        elif name == b"clap":
            turns.append(Turn(crop=_crop(span, path)))
    return tuple(turns)


def _crop(span: Span, path: Path) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Width, height and the offset of the middle, from a clean aperture box."""
    numbers = []
    for place in range(4):
        above, below = span.number(4), span.number(4)
        if place >= 2 and above >= 2**31:
            above -= 2**32
        if not below:
            raise corrupt(path, "its crop is not valid")
        numbers.append(Fraction(above, below))
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _cicp(meta: _Meta, item: int) -> Cicp | None:
    for span in meta.of(item, b"colr"):
        if span.take(4) == b"nclx":
            primaries, transfer, matrix, full = (span.number(size) for size in (2, 2, 2, 1))
            return Cicp(primaries, transfer, matrix, bool(full & 0x80))
    return None


def _icc(meta: _Meta, item: int) -> bytes | None:
    for span in meta.of(item, b"colr"):
        if span.take(4) in (b"prof", b"rICC"):
            icc = span.rest()
            return icc if 0 < len(icc) <= MAX_PROFILE_BYTES else None
    return None


def _aux_kind(meta: _Meta, item: int) -> bytes:
    for span in meta.of(item, b"auxC"):
        span.version()
        return span.text() if b"\0" in span.data[span.position : span.end] else span.rest()
    return b""


def _extras(meta: _Meta) -> Iterable[str]:
    """What the file holds besides its picture and EXIF, each once: see `PictureHeader.extras`."""
    found: dict[str, None] = {}
    parts = {target for kind, _, targets in meta.references if kind == b"dimg" for target in targets}
    small = {origin for kind, origin, _ in meta.references if kind == b"thmb"}
    for number, item in meta.items.items():
        auxiliary = _aux_kind(meta, number)
        if number == meta.primary or number in parts or auxiliary in _ALPHA or item.kind == b"Exif":
            continue
        kind = b"thmb" if number in small else auxiliary or item.kind
        found.setdefault(kind.decode("ascii", "replace"))
    return found


def _exif(meta: _Meta, data: bytes) -> bytes | None:
    """The TIFF block of the EXIF item that describes the picture; a damaged one is left out."""
    described = [item for item in meta.from_(b"cdsc", meta.primary or 0) if item in meta.items]
    alone = [
        number
        for number in meta.items
        if not any(kind == b"cdsc" and origin == number for kind, origin, _ in meta.references)
    ]
    for number in [*described, *alone]:
        item = meta.items[number]
        if item.kind != b"Exif" or item.elsewhere or item.encrypted:
            continue
        if sum(length for _, length in item.extents) > len(data):
            continue
        content = b"".join(data[begin : begin + length] for begin, length in item.extents)
        start = 4 + int.from_bytes(content[:4])
        return content[start:].removeprefix(b"Exif\0\0") or None
    return None


def _read_meta(data: bytes, path: Path) -> _Meta:
    meta = _Meta()
    try:
        for name, content in Span(data, 0, len(data)).boxes():
            if name == b"meta":
                content.version()
                _fill(meta, content)
                return _checked(meta, path)
    except IncompleteBoxError as error:
        raise truncated(path) from error
    raise truncated(path)


def _fill(meta: _Meta, content: Span) -> None:
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


def _fill_kinds(meta: _Meta, box: Span) -> None:
    version, _ = box.version()
    box.number(4 if version else 2)
    for name, entry in box.boxes():
        form, _ = entry.version()
        if name != b"infe" or form < 2:
            continue
        item = _item(meta, entry.number(4 if form == 3 else 2))
        item.encrypted = entry.number(2) != 0
        item.kind = entry.take(4)


def _fill_properties(meta: _Meta, box: Span) -> None:
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


def _fill_places(meta: _Meta, box: Span) -> None:
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


def _checked(meta: _Meta, path: Path) -> _Meta:
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


def _item(meta: _Meta, number: int) -> _Item:
    if number not in meta.items and len(meta.items) >= _MAX_ITEMS:
        raise IncompleteBoxError
    return meta.items.setdefault(number, _Item())
