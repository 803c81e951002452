"""From the planes of a coded picture to samples of red, green and blue, in full precision.

    R, G, B from Y, Cb, Cr by Kr, Kb of the matrix (ITU-T H.273), see `colour`

Chroma is enlarged bilinearly at its own place between the luma samples. Eight bits are rounded to 8, ten and twelve
to 16; gray and RGB go through a table of whole numbers, from which the coded samples can be had back exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.media.facts import ColourTags
from faceflow.media.native import Plane

MATRICES: dict[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),  # not stated: as JPEG has it
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Kr and Kb by matrix code."""

_ROWS_AT_ONCE = 128
_LEFT_SITED = {1, 3, 5}
_TOP_SITED, _BOTTOM_SITED = {3, 4}, {5, 6}


@dataclass(frozen=True, slots=True)
class Coded:
    """A whole picture as its decoder gave it.

    Attributes:
        planes: Y, Cb, Cr, or G, B, R, or gray; uint8, or uint16 with the value in the low bits.
        shifts: log2 of each plane's subsampling, to the right and down.
        pixel_format: FFmpeg's name.
        bit_depth: 8, 10 or 12.
        tags: matrix, range and the place of chroma.
    """

    planes: list[Plane]
    shifts: tuple[tuple[int, int], ...]
    pixel_format: str
    bit_depth: int
    tags: ColourTags


def rgb_of(coded: Coded) -> Plane:
    """uint8 or uint16 (H, W, C): gray, or B, G, R, over the whole range of their type."""
    dtype = np.dtype(np.uint8 if coded.bit_depth == 8 else np.uint16)
    full = coded.tags.colour_range == 2 or coded.pixel_format.startswith("yuvj")
    if len(coded.planes) == 1:
        table = spread(coded.bit_depth, dtype, full=full)
        return _looked_up(table, coded.planes[0])[:, :, None]
    if coded.pixel_format.startswith("gbr") or coded.tags.matrix == 0:
        table = spread(coded.bit_depth, dtype, full=full)
        green, blue, red = (_looked_up(table, plane) for plane in coded.planes)
        return cast(Plane, np.dstack([blue, green, red]))
    height, width = coded.planes[0].shape
    chroma = [enlarged(plane, (width, height), coded) for plane in coded.planes[1:]]
    matrix = _matrix(coded.tags.matrix, full, coded.bit_depth, dtype)
    top = (1 << (8 * dtype.itemsize)) - 1
    result: Any = np.empty((height, width, 3), dtype)
    for first in range(0, height, _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, height))
        merged = cv2.merge([plane[rows].astype(np.float32) for plane in (coded.planes[0], *chroma)])
        converted = cv2.transform(merged, matrix)
        result[rows] = np.clip(np.rint(converted), 0, top)
    return cast(Plane, result)


def spread(bits: int, dtype: np.dtype[Any], *, full: bool = True) -> NDArray[Any]:
    """A table from codes of `bits` to the whole range of `dtype`, rounded; several codes never become one."""
    codes = np.arange(1 << bits, dtype=np.int64)
    black, white = (0, (1 << bits) - 1) if full else (16 << (bits - 8), 235 << (bits - 8))
    top = int(np.iinfo(dtype).max)
    span = white - black
    return np.clip((2 * (codes - black) * top + span) // (2 * span), 0, top).astype(dtype)


def enlarged(plane: Plane, size: tuple[int, int], coded: Coded) -> Plane:
    """A chroma plane with a sample for every one of luma."""
    right, down = coded.shifts[1]
    if not right and not down:
        return plane
    location = coded.tags.chroma_location
    x = 0.5 if right and location not in _LEFT_SITED else 0.0
    y = 0.0 if not down or location in _TOP_SITED else 1.0 if location in _BOTTOM_SITED else 0.5
    step_x, step_y = float(1 << right), float(1 << down)
    view = np.array([[1 / step_x, 0, -x / step_x], [0, 1 / step_y, -y / step_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cast(Plane, cv2.warpAffine(plane, view, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _looked_up(table: NDArray[Any], plane: Plane) -> Plane:
    return cast(Plane, table[np.minimum(plane, len(table) - 1)])


def _matrix(code: int, full: bool, bits: int, dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """float32 (3, 4): Y, Cb, Cr and 1 -> B, G, R over the range of `dtype`."""
    top = float(np.iinfo(dtype).max)
    unit = float(1 << (bits - 8))
    codes = float((1 << bits) - 1)
    black, luma_span, chroma_span = (0.0, codes, codes) if full else (16 * unit, 219 * unit, 224 * unit)
    red, blue = MATRICES[code]
    green = 1 - red - blue
    luma, chroma = top / luma_span, top / chroma_span
    to_blue, to_red = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    rows = np.array([[luma, to_blue, 0], [luma, -to_blue * blue / green, -to_red * red / green], [luma, 0, to_red]])
    offsets = -rows @ np.array([black, 128 * unit, 128 * unit])
    return np.asarray(np.hstack([rows, offsets[:, None]]), np.float32)
