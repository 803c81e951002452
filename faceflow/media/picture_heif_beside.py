"""What a HEIF file holds beside its picture: the EXIF block, which is carried, and extras, which are told."""

from __future__ import annotations

from collections.abc import Iterable

from faceflow.media.picture_heif_meta import Meta
from faceflow.media.picture_heif_properties import auxiliary_kind

ALPHA = frozenset({b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"})
"""Kinds of auxiliary pictures that are the transparency of another."""


def extras_of(meta: Meta) -> Iterable[str]:
    """What the file holds besides its picture and EXIF, each once: see `PictureHeader.extras`."""
    found: dict[str, None] = {}
    parts = {target for kind, _, targets in meta.references if kind == b"dimg" for target in targets}
    small = {origin for kind, origin, _ in meta.references if kind == b"thmb"}
    for number, item in meta.items.items():
        auxiliary = auxiliary_kind(meta, number)
        if number == meta.primary or number in parts or auxiliary in ALPHA or item.kind == b"Exif":
            continue
        kind = b"thmb" if number in small else auxiliary or item.kind
        found.setdefault(kind.decode("ascii", "replace"))
    return found


def exif_of(meta: Meta, data: bytes) -> bytes | None:
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
