"""Between native planes and BGR, for faces only, and back without touching anything else.

A frame is never converted as a whole. `small_bgr` shrinks the planes first and converts the small picture,
`crop_bgr` warps each plane through the crop's matrix and converts the S x S result, and `paste` goes the other way
with a difference: a swapped crop minus the target's own crop, times alpha, is turned into a difference of Y, U and V
(the conversion is linear) and added to the samples. So the target's own samples never make a round trip: where
alpha is 0 the difference is exactly 0 and the sample stays as it was, bit for bit, and where alpha is partial only
the added part is rounded.

    Y = Kr R + Kg G + Kb B,  Cb = (B - Y) / (2 (1 - Kb)),  Cr = (R - Y) / (2 (1 - Kr))

with Kr, Kb of ITU-R BT.601 (0.299, 0.114), BT.709 (0.2126, 0.0722) or BT.2020 (0.2627, 0.0593); limited range puts
Y at 16..235 and chroma at 16..240 times 2^(bits - 8), full range uses all codes (ITU-R BT.601-7, BT.709-6,
BT.2020-2, H.273). A matrix that is not stated is read as BT.709 from 720 rows up and as BT.601 below; an unstated
range as limited for YUV, full for `yuvj*`, RGB and gray.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.media.native import NativeFrame, Plane

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Matrix = NDArray[np.float32] | NDArray[np.float64]

_WEIGHTS = {  # H.273 matrix code: (Kr, Kb)
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),  # constant luminance, read like the usual non-constant one
}
_BT601, _BT709 = 6, 1
_HD_ROWS = 720
_CENTRED_X = {2, 4, 6}  # AVChromaLocation: centre, top, bottom; others lie on the left luma column
_TOP, _BOTTOM = {3, 4}, {5, 6}


def small_bgr(frame: NativeFrame, long_side_px: int) -> tuple[Bytes, float]:
    """A small copy of the whole frame for detection: uint8 (h, w, 3), BGR, and its scale (copy / frame, at most 1)."""
    scale = min(1.0, long_side_px / max(frame.width_px, frame.height_px))
    size = (max(1, round(frame.width_px * scale)), max(1, round(frame.height_px * scale)))
    planes = [_resized(plane, size) for plane in frame.planes]
    return _to_bgr(frame, planes), scale


def small_luma(frame: NativeFrame, size: tuple[int, int]) -> Bytes:
    """A thumbnail of the first plane (luma; green of RGB): uint8 (rows, columns) of `size` (width, height)."""
    plane = frame.planes[1 if frame.pixel_format.startswith("gbr") else 0]
    # Every n-th row and column first: a thumbnail for cut detection needs no exact mean of a whole 4K plane.
    step = max(1, min(plane.shape[1] // (size[0] * 4), plane.shape[0] // (size[1] * 4)))
    small = _resized(cast(Plane, np.ascontiguousarray(plane[::step, ::step])), size)
    return np.asarray(np.right_shift(small, frame.bit_depth - 8), np.uint8)


def crop_bgr(frame: NativeFrame, matrix: Matrix, side_px: int) -> Bytes:
    """The crop that `matrix` ((2, 3), frame -> crop) shows: uint8 (side, side, 3), BGR.

    Each plane is warped by itself (bilinear, area-averaged first where the crop shrinks it), chroma at its own
    position on the grid; beyond the frame its border goes on.
    """
    return _cropped(frame, matrix, (side_px, side_px))


def _cropped(frame: NativeFrame, matrix: Matrix, size: tuple[int, int]) -> Bytes:
    planes: list[Plane] = []
    for number, plane in enumerate(frame.planes):
        view = matrix if number == 0 or not _subsampled(frame) else _chroma_matrix(frame, matrix)
        source, adjusted = decimated(plane, view, size)
        warped = cv2.warpAffine(source, adjusted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        planes.append(cast(Plane, warped))
    return _to_bgr(frame, planes)


def decimated(plane: Plane, matrix: Matrix, size: tuple[int, int]) -> tuple[Plane, NDArray[np.float64]]:
    """The part of a plane that `matrix` shows in a picture of `size` (width, height).

    It is area-averaged by a whole factor where it will be shrunk by two or more.

    Returns:
        The part (the plane itself when it is not shrunk) and the matrix that fits it: float64 (2, 3), part -> crop.
    """
    full = np.vstack([np.asarray(matrix, np.float64), [0.0, 0.0, 1.0]])
    factor = int(1.0 / max(1e-6, float(np.sqrt(abs(np.linalg.det(full[:2, :2]))))))
    if factor < 2:
        return plane, full[:2]
    width, height = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    seen = corners @ np.linalg.inv(full)[:2].T
    rows, columns = plane.shape[:2]
    left, top = (
        int(np.clip(low, 0, limit - 1))
        for low, limit in zip(np.floor(seen.min(0)) - factor, (columns, rows), strict=True)
    )
    right, bottom = (
        int(np.clip(high, low + 1, limit))
        for high, low, limit in zip(np.ceil(seen.max(0)) + factor, (left, top), (columns, rows), strict=True)
    )
    few = (max(1, (right - left) // factor), max(1, (bottom - top) // factor))
    part = cast(Plane, cv2.resize(plane[top:bottom, left:right], few, interpolation=cv2.INTER_AREA))
    # Pixel centres: part = (plane - corner + 0.5) / f - 0.5, so plane = f (part + 0.5) - 0.5 + corner.
    fx, fy = (right - left) / few[0], (bottom - top) / few[1]
    back = np.array([[fx, 0, 0.5 * fx - 0.5 + left], [0, fy, 0.5 * fy - 0.5 + top], [0, 0, 1]])
    return part, np.asarray((full @ back)[:2], np.float64)


def paste(frame: NativeFrame, matrix: Matrix, pixels: Bytes, mask: Bytes) -> tuple[int, int, int, int]:
    """Blends a crop into the frame's planes, in place.

    Args:
        frame: changed inside the returned rectangle only, and there only where the warped mask is above 0 (for
            chroma: where any luma sample of the block is).
        matrix: float32 (2, 3), frame -> crop.
        pixels: uint8 (S, S, 3), BGR.
        mask: uint8 (S, S), 0 keeps the frame, 255 takes `pixels`.

    Returns:
        Left, top, right, bottom of the rectangle that may have changed, aligned to the chroma grid.
    """
    x, y, columns, rows = cv2.boundingRect(mask)
    if not columns:
        return 0, 0, 0, 0
    # One more pixel on either side, where bilinear reading fades out.
    x, y, end_x, end_y = max(0, x - 1), max(0, y - 1), x + columns + 1, y + rows + 1
    pixels, mask = pixels[y:end_y, x:end_x], mask[y:end_y, x:end_x]
    to_part = np.asarray(matrix, np.float64) - np.array([[0, 0, x], [0, 0, y]])
    rows, columns = mask.shape
    to_frame = np.linalg.inv(np.vstack([to_part, [0.0, 0.0, 1.0]]))
    corners = np.array([[-1, -1, 1], [columns, -1, 1], [-1, rows, 1], [columns, rows, 1]], np.float64)
    seen = corners @ to_frame[:2].T
    step_x, step_y = 1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y
    left = max(0, int(np.floor(seen[:, 0].min())) // step_x * step_x)
    top = max(0, int(np.floor(seen[:, 1].min())) // step_y * step_y)
    right = min(frame.width_px, -(-(int(np.ceil(seen[:, 0].max())) + 1) // step_x) * step_x)
    bottom = min(frame.height_px, -(-(int(np.ceil(seen[:, 1].max())) + 1) // step_y) * step_y)
    if right <= left or bottom <= top:
        return 0, 0, 0, 0

    own = _cropped(frame, to_part, (columns, rows))
    change = cv2.transform(cv2.subtract(pixels, own, dtype=cv2.CV_32F), _difference_matrix(frame))
    alpha = mask.astype(np.float32) * np.float32(1 / 255)
    layers = [cv2.multiply(layer, alpha) for layer in cv2.split(change)]

    # Whole chroma blocks, also where an odd frame's last block is half outside.
    blocks = (-(-(right - left) // step_x), -(-(bottom - top) // step_y))
    size = (blocks[0] * step_x, blocks[1] * step_y)
    here = to_part.copy()
    here[:, 2] += here[:, :2] @ (left, top)
    if not _subsampled(frame):
        warped = _pulled(cv2.merge(layers[: len(frame.planes)]), here, size)
        for number, plane in enumerate(frame.planes):
            layer = warped if len(frame.planes) == 1 else cv2.extractChannel(warped, number)
            _add(plane[top:bottom, left:right], layer, frame.bit_depth)
        return left, top, right, bottom
    luma, cover = cv2.split(_pulled(cv2.merge([layers[0], alpha]), here, size))
    _add(frame.planes[0][top:bottom, left:right], luma, frame.bit_depth)
    offset_x, offset_y = _chroma_offset(frame)
    sited = here.copy()  # the mean of a block's samples must lie where the chroma sample is
    sited[:, 2] += sited[:, :2] @ (offset_x - (step_x - 1) / 2, offset_y - (step_y - 1) / 2)
    chroma = _mean_of_blocks(_pulled(cv2.merge(layers[1:]), sited, size), blocks)
    touched = (_mean_of_blocks(cover, blocks) > 0).astype(np.float32)
    x, y = left // step_x, top // step_y
    for number, layer in zip((1, 2), cv2.split(chroma), strict=True):
        plane = frame.planes[number][y : y + blocks[1], x : x + blocks[0]]
        _add(plane, cv2.multiply(layer, touched), frame.bit_depth)
    return left, top, right, bottom


def _pulled(layers: NDArray[Any], frame_to_crop: NDArray[np.float64], size: tuple[int, int]) -> Floats:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # Warping in the other direction: the crop is the source now, so the matrix already maps output to input.
    return np.asarray(
        cv2.warpAffine(layers, frame_to_crop, size, flags=flags, borderMode=cv2.BORDER_CONSTANT), np.float32
    )


def _mean_of_blocks(layers: NDArray[Any], blocks: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(layers, blocks, interpolation=cv2.INTER_AREA), np.float32)


def _add(plane: Plane, difference: NDArray[Any], bit_depth: int) -> None:
    rows, columns = plane.shape
    depth = cv2.CV_8U if plane.dtype == np.uint8 else cv2.CV_16U
    total = cv2.add(plane, difference[:rows, :columns], dtype=depth)  # in float, rounded, saturated
    plane[...] = total if bit_depth in (8, 16) else np.minimum(total, (1 << bit_depth) - 1)


def _resized(plane: Plane, size: tuple[int, int]) -> Plane:
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    shrinks = plane.shape[1] >= size[0] and plane.shape[0] >= size[1]
    resized = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return cast(Plane, resized)


def _to_bgr(frame: NativeFrame, planes: list[Plane]) -> Bytes:
    merged = cv2.merge(planes) if len(planes) > 1 else planes[0]
    if frame.bit_depth == 8:
        converted = cv2.transform(merged, _bgr_matrix(*_key(frame)))  # rounds and saturates
        return np.asarray(converted, np.uint8)
    converted = cv2.transform(merged.astype(np.float32), _bgr_matrix(*_key(frame)))
    return np.asarray(np.clip(np.rint(converted), 0, 255), np.uint8)


def _subsampled(frame: NativeFrame) -> bool:
    return bool(frame.chroma_shift_x or frame.chroma_shift_y) and len(frame.planes) > 1


def _chroma_offset(frame: NativeFrame) -> tuple[float, float]:
    """Where chroma sample (0, 0) lies, in luma pixels. Not stated means left, as MPEG-2 and H.264 take it."""
    location = frame.colour.chroma_location
    x = 0.5 if frame.chroma_shift_x and location in _CENTRED_X else 0.0
    y = 0.0 if not frame.chroma_shift_y or location in _TOP else 1.0 if location in _BOTTOM else 0.5
    return x, y


def _chroma_matrix(frame: NativeFrame, matrix: Matrix) -> Floats:
    x, y = _chroma_offset(frame)
    to_luma = np.array([[1 << frame.chroma_shift_x, 0, x], [0, 1 << frame.chroma_shift_y, y], [0, 0, 1]], np.float64)
    return np.asarray(np.asarray(matrix, np.float64) @ to_luma, np.float32)


def _key(frame: NativeFrame) -> tuple[str, int, bool, int]:
    """What the conversion depends on: kind of planes, matrix code, full range, bits."""
    name, tags = frame.pixel_format, frame.colour
    kind = "gray" if len(frame.planes) == 1 else "rgb" if name.startswith("gbr") or tags.matrix == 0 else "yuv"
    full = tags.colour_range == 2 or name.startswith("yuvj") or (tags.colour_range != 1 and kind != "yuv")
    matrix = tags.matrix if tags.matrix in _WEIGHTS else _BT709 if frame.height_px >= _HD_ROWS else _BT601
    return kind, matrix, full, frame.bit_depth


@lru_cache(maxsize=64)
def _bgr_matrix(kind: str, matrix: int, full: bool, bits: int) -> Floats:
    """float32 (3, 3 or 1 + 1): native samples (and 1) -> B, G, R in 0..255."""
    black, luma_span, chroma_span, middle = _codes(full, bits)
    luma = 255.0 / luma_span
    if kind == "gray":
        return np.array([[luma, -black * luma]] * 3, np.float32)
    if kind == "rgb":
        return np.array([[luma * (r == c) for c in range(3)] + [-black * luma] for r in range(3)], np.float32)
    red, blue = _WEIGHTS[matrix]
    green = 1 - red - blue
    chroma = 255.0 / chroma_span
    to_blue, to_red = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    rows = np.array(
        [
            [luma, to_blue, 0.0],
            [luma, -to_blue * blue / green, -to_red * red / green],
            [luma, 0.0, to_red],
        ]
    )
    offsets = -rows @ np.array([black, middle, middle])
    return np.asarray(np.hstack([rows, offsets[:, None]]), np.float32)


def _difference_matrix(frame: NativeFrame) -> Floats:
    return _cached_difference_matrix(*_key(frame))


@lru_cache(maxsize=64)
def _cached_difference_matrix(kind: str, matrix: int, full: bool, bits: int) -> Floats:
    """float32 (3, 3): difference of B, G, R (0..255) -> difference of the native samples; gray repeats its row."""
    _, luma_span, chroma_span, _ = _codes(full, bits)
    if kind == "rgb":
        return np.asarray(np.eye(3) * luma_span / 255.0, np.float32)
    red, blue = _WEIGHTS[_BT601 if kind == "gray" else matrix]
    weights = np.array([blue, 1 - red - blue, red])
    luma = weights * luma_span / 255.0
    if kind == "gray":
        return np.asarray(np.stack([luma, luma, luma]), np.float32)
    cb = (np.array([1.0, 0, 0]) - weights) / (2 * (1 - blue)) * chroma_span / 255.0
    cr = (np.array([0, 0, 1.0]) - weights) / (2 * (1 - red)) * chroma_span / 255.0
    return np.asarray(np.stack([luma, cb, cr]), np.float32)


def _codes(full: bool, bits: int) -> tuple[float, float, float, float]:
    """Code of black, codes from black to white, codes across chroma, code of no colour."""
    unit = float(1 << (bits - 8))
    top = float((1 << bits) - 1)
    return (0.0, top, top, 128 * unit) if full else (16 * unit, 219 * unit, 224 * unit, 128 * unit)
