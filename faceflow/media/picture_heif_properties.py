"""What the properties of a HEIF item say: size, bits a sample, colours, and the steps that make it upright."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from faceflow.media.picture_boxes import Span
from faceflow.media.picture_cicp import Cicp
from faceflow.media.picture_header import MAX_PROFILE_BYTES, corrupt, unsupported
from faceflow.media.picture_heif_meta import Meta
from faceflow.media.picture_items import CodedItem, Turn

_DEPTHS = (8, 10, 12)


def stated_size(meta: Meta, item: int, path: Path) -> tuple[int, int]:
    """Width and height in pixels that `ispe` states. Raises `picture.corrupt`."""
    found = meta.of(item, b"ispe")
    if not found:
        raise corrupt(path, "its size is not stated")
    found[0].version()
    width, height = found[0].number(4), found[0].number(4)
    if not width or not height:
        raise corrupt(path, f"its header states {width}x{height} pixels")
    return width, height


def bit_depth_of(tile: CodedItem, path: Path) -> int:
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


def turns_of(meta: Meta, item: int, path: Path) -> tuple[Turn, ...]:
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


def cicp_of(meta: Meta, item: int) -> Cicp | None:
    """Colours by numbers, or None where the item states none."""
    for span in meta.of(item, b"colr"):
        if span.take(4) == b"nclx":
            primaries, transfer, matrix, full = (span.number(size) for size in (2, 2, 2, 1))
            return Cicp(primaries, transfer, matrix, bool(full & 0x80))
    return None


def icc_of(meta: Meta, item: int) -> bytes | None:
    """Its colour profile, or None where it has none or one beyond all bounds."""
    for span in meta.of(item, b"colr"):
        if span.take(4) in (b"prof", b"rICC"):
            icc = span.rest()
            return icc if 0 < len(icc) <= MAX_PROFILE_BYTES else None
    return None


def auxiliary_kind(meta: Meta, item: int) -> bytes:
    """Of what kind an auxiliary picture is (alpha, depth, gain map); empty for any other item."""
    for span in meta.of(item, b"auxC"):
        span.version()
        return span.text() if b"\0" in span.data[span.position : span.end] else span.rest()
    return b""
