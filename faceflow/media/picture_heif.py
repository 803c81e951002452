"""The headers of a HEIF file (HEIC, AVIF): which item is the picture, of what it is made and how it is shown.

A HEIF file is a small database: items (pieces of coded data), properties (size, codec set-up, colour, rotation, crop)
and references between items (tile of a grid, alpha of, EXIF of). A phone's photograph is a grid of 48 or so HEVC tiles
with a thumbnail, a gain map and an EXIF block beside it. Only the primary item is used, with its tiles and its alpha.

Pixels are counted here, before any decoder is started: `ispe` states the size of every item, a decoder is told to
refuse more than that (`picture_items`), and what it returns must have that size. Coded in HEVC or AV1, plain, as a grid
or as an identity derivation; everything else is named and refused. The database is read in `picture_heif_meta`,
properties in `picture_heif_properties`, EXIF and what is told but not carried in `picture_heif_beside`.
"""

from __future__ import annotations

from pathlib import Path

from faceflow.errors import PictureError
from faceflow.media.picture_boxes import IncompleteBoxError, Span
from faceflow.media.picture_header import (
    CheckSize,
    PictureHeader,
    corrupt,
    truncated,
    unsupported,
)
from faceflow.media.picture_heif_beside import ALPHA, exif_of, extras_of
from faceflow.media.picture_heif_meta import Meta, read_meta
from faceflow.media.picture_heif_properties import auxiliary_kind, bit_depth_of, cicp_of, icc_of, stated_size, turns_of
from faceflow.media.picture_items import Codec, CodedItem, HeifPicture

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


def read_heif_header(data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    """The header of the HEIF or AVIF file `data`; `path` is for messages.

    Raises:
        PictureError: `picture.truncated`, `picture.corrupt`, `picture.format_unsupported`, and what `check_size`
            raises.
    """
    meta = read_meta(data, path)
    try:
        return _header(meta, data, path, check_size)
    except IncompleteBoxError as error:
        raise corrupt(path, "a property of its picture is incomplete") from error


def _header(meta: Meta, data: bytes, path: Path, check_size: CheckSize) -> PictureHeader:
    if meta.primary is None or meta.primary not in meta.items:
        raise corrupt(path, "it does not state which of its items is the picture")
    picture = _picture(meta, meta.primary, data, path, check_size, 0)
    alphas = [
        item for item in meta.from_(b"auxl", meta.primary) if item in meta.items and auxiliary_kind(meta, item) in ALPHA
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
        exif=exif_of(meta, data),
        cicp=picture.cicp,
        oriented_by_exif=False,
        heif=picture,
        extras=tuple(extras_of(meta)),
    )


def _picture(meta: Meta, item: int, data: bytes, path: Path, check_size: CheckSize, depth: int) -> HeifPicture:
    """An item with its size, tiles, transforms and colour; follows identity derivations a few steps."""
    stated = meta.items[item]
    _refuse_unknown(meta, item, path)
    turns = turns_of(meta, item, path)
    if stated.kind == b"iden":
        origins = meta.to(b"dimg", item)
        if len(origins) != 1 or origins[0] not in meta.items or depth >= _MAX_DEPTH:
            raise corrupt(path, "its picture is derived from nothing")
        origin = _picture(meta, origins[0], data, path, check_size, depth + 1)
        return origin.turned(turns, cicp_of(meta, item), icc_of(meta, item))
    size = stated_size(meta, item, path)
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
        bit_depth=bit_depth_of(tiles[0], path),
        cicp=cicp_of(meta, item) or cicp_of(meta, first),
        icc=icc_of(meta, item) or icc_of(meta, first),
    )


def _grid(
    meta: Meta, item: int, size: tuple[int, int], data: bytes, path: Path, check_size: CheckSize
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
    side = stated_size(meta, numbers[0], path)
    # A tile that lies wholly outside would be decoded for nothing.
    covers = all(
        (count - 1) * one < whole <= count * one for count, one, whole in zip((columns, rows), side, own, strict=True)
    )
    if not covers or any(stated_size(meta, tile, path) != side for tile in set(numbers)):
        raise corrupt(path, "its tiles do not match its size")
    check_size(*side)
    return columns, tuple(_coded(meta, tile, side, data, path) for tile in numbers), own


def _coded(meta: Meta, item: int, size: tuple[int, int], data: bytes, path: Path) -> CodedItem:
    codec = _CODECS[meta.items[item].kind]
    setup = meta.of(item, _CODEC_SETUP[codec])
    if not setup:
        raise corrupt(path, "its decoder configuration is missing")
    if meta.items[item].encrypted:
        raise unsupported(path, "encrypted HEIF")
    _check_extents(meta, item, data, path)
    extents = tuple(meta.items[item].extents)
    return CodedItem(codec=codec, setup=setup[0].rest(), extents=extents, width_px=size[0], height_px=size[1])


def _check_extents(meta: Meta, item: int, data: bytes, path: Path) -> None:
    stated = meta.items[item]
    if stated.elsewhere:
        raise unsupported(path, "HEIF (with its data in another file or item)")
    if not stated.extents:
        raise corrupt(path, "it has no data for its picture")
    if any(begin + length > len(data) for begin, length in stated.extents):
        raise truncated(path)
    if sum(length for _, length in stated.extents) > len(data):
        raise corrupt(path, "parts of its data are used more than once")


def _payload(meta: Meta, item: int, data: bytes, path: Path) -> bytes:
    _check_extents(meta, item, data, path)
    return b"".join(data[begin : begin + length] for begin, length in meta.items[item].extents)


def _refuse_unknown(meta: Meta, item: int, path: Path) -> None:
    """A property that must be understood, and is not, would make another picture of it."""
    for number, essential in meta.items[item].properties:
        name = meta.properties[number][0]
        if essential and name not in _UNDERSTOOD:
            raise unsupported(path, f"HEIF (with the property {_shown(name)})")


def _refused(kind: bytes, path: Path) -> PictureError:
    return unsupported(path, _NAMES.get(kind, f"HEIF (of the kind {_shown(kind)})"))


def _shown(name: bytes) -> str:
    return repr(name.decode("ascii", "replace"))
