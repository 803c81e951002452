"""Between native planes and BGR, for faces only.

A frame is never converted as a whole. `small_bgr` shrinks the planes first and converts the small picture, and
`crop_bgr` reads each plane through the crop's matrix and converts the S x S result; `paste` goes the other way.

    Y = Kr R + Kg G + Kb B,  Cb = (B - Y) / (2 (1 - Kb)),  Cr = (R - Y) / (2 (1 - Kr))

with Kr, Kb of ITU-R BT.601 (0.299, 0.114), BT.709 (0.2126, 0.0722) or BT.2020 (0.2627, 0.0593), or of the primaries;
YCgCo has sums and differences in their place (Y = (R + 2 G + B) / 4, Cg = (2 G - R - B) / 4, Co = (R - B) / 2). Limited
range puts Y at 16..235 and chroma at 16..240 times 2^(bits - 8), full range uses all codes (ITU-R BT.601-7, BT.709-6,
BT.2020-2, H.273). A matrix that is not stated is read as BT.709 from 720 rows up and as BT.601 below; an unstated
range as limited for YUV, full for `yuvj*`, RGB and gray.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.media.facts import ColourTags
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
}
_YCGCO = 8
_BY_PRIMARIES = 12
_CHROMATICITIES = {  # H.273 primaries code: (x, y) of red, green, blue and white
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), (0.3127, 0.3290)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), (0.3127, 0.3290)),
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


def crop_bgr(frame: NativeFrame, matrix: Matrix, side_px: int) -> Bytes:
    """The crop that `matrix` ((2, 3), frame -> crop) shows: uint8 (side, side, 3), BGR.

    Each plane is warped by itself (bilinear, area-averaged first where the crop shrinks it), chroma at its own
    position on the grid; beyond the frame its border goes on.
    """
    return cropped(frame, matrix, (side_px, side_px))


def cropped(frame: NativeFrame, matrix: Matrix, size: tuple[int, int]) -> Bytes:
    """`crop_bgr` for a crop of any `size` (width, height): uint8 (height, width, 3), BGR."""
    if not subsampled(frame):
        return _to_bgr(frame, [_through(plane, matrix, size) for plane in frame.planes])
    luma, *chroma = frame.planes
    corner = whole_pixels(matrix)
    blocks = None if corner is None else _blocks(frame, corner, size)
    if corner is not None and blocks is not None:
        here = luma[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
        return _to_bgr(frame, [here, *(_between(frame, plane, blocks, size) for plane in chroma)])
    view = _chroma_matrix(frame, matrix)
    left, top, right, bottom = _seen(view, size, chroma[0].shape, 2)
    both = cv2.merge([plane[top:bottom, left:right] for plane in chroma])
    view[:, 2] += view[:, :2] @ np.array([left, top], np.float32)
    return _to_bgr(frame, [_through(luma, matrix, size), *cv2.split(_through(both, view, size))])


def _through(plane: NDArray[Any], matrix: Matrix, size: tuple[int, int]) -> Any:
    source, adjusted = decimated(plane, matrix, size)
    return cv2.warpAffine(source, adjusted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def whole_pixels(matrix: Matrix) -> tuple[int, int] | None:
    """Column and row of the frame that a crop begins at, if `matrix` (frame -> crop) only moves by whole pixels."""
    (xx, xy, x), (yx, yy, y) = matrix.tolist()
    whole = xx == yy == 1 and xy == yx == 0 and x.is_integer() and y.is_integer()
    return (-int(x), -int(y)) if whole else None


def _blocks(frame: NativeFrame, corner: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The chroma samples (left, top, right, bottom) of a crop and one more all around; None where that does not fit."""
    step_x, step_y = 1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y
    if corner[0] % step_x or corner[1] % step_y or size[0] % step_x or size[1] % step_y:
        return None
    left, top = corner[0] // step_x - 1, corner[1] // step_y - 1
    right, bottom = left + size[0] // step_x + 2, top + size[1] // step_y + 2
    rows, columns = frame.planes[1].shape
    return (left, top, right, bottom) if min(left, top) >= 0 and right <= columns and bottom <= rows else None


def _between(frame: NativeFrame, plane: Plane, blocks: tuple[int, int, int, int], size: tuple[int, int]) -> Plane:
    """A chroma plane's `blocks` at the places of the luma samples, without the margin."""
    left, top, right, bottom = blocks
    step_x, step_y = 1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y
    fine = cv2.resize(plane[top:bottom, left:right], None, fx=step_x, fy=step_y, interpolation=cv2.INTER_LINEAR)
    # That put the samples into the middle of their blocks; where they lie on a block's edge, what is wanted lies half
    # a luma sample further on or back: the mean of two neighbours.
    x, y = chroma_offset(frame)
    moves = [(step_x - 1) / 2 - x, (step_y - 1) / 2 - y]
    first = [step_x - (moves[0] < 0), step_y - (moves[1] < 0)]
    if moves[0]:
        fine = cv2.addWeighted(fine[:, :-1], 0.5, fine[:, 1:], 0.5, 0)
    if moves[1]:
        fine = cv2.addWeighted(fine[:-1], 0.5, fine[1:], 0.5, 0)
    return cast(Plane, fine[first[1] : first[1] + size[1], first[0] : first[0] + size[0]])


def decimated(plane: NDArray[Any], matrix: Matrix, size: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The part of a plane (or a picture) that `matrix` shows in a picture of `size` (width, height).

    It is area-averaged by a whole factor where it will be shrunk by two or more.

    Returns:
        The part (the plane itself when it is not shrunk) and the matrix that fits it: float64 (2, 3), part -> crop.
        Averaged samples lie on one grid for the whole plane, so that crops of one scale share them.
    """
    view = np.asarray(matrix, np.float64)
    factor = int(1.0 / max(1e-6, float(np.sqrt(abs(view[0, 0] * view[1, 1] - view[0, 1] * view[1, 0])))))
    if factor < 2:
        return plane, view
    left, top, right, bottom = _seen(view, size, plane.shape, 0)
    left, columns, fx = _averaged(left, right, plane.shape[1], factor)
    top, rows, fy = _averaged(top, bottom, plane.shape[0], factor)
    source = plane[top : top + rows * fy, left : left + columns * fx]
    part = cv2.resize(source, (columns, rows), interpolation=cv2.INTER_AREA)
    # Pixel centres: part = (plane - corner + 0.5) / f - 0.5, so plane = f (part + 0.5) - 0.5 + corner.
    back = np.array([[fx, 0, 0.5 * fx - 0.5 + left], [0, fy, 0.5 * fy - 0.5 + top], [0, 0, 1]])
    return part, view @ back


def _seen(matrix: Matrix, size: tuple[int, int], shape: tuple[int, ...], margin: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the samples that a crop of `size` reads, inside a plane, at least one of them."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64) - matrix[:, 2]
    at = corners @ np.linalg.inv(matrix[:, :2].astype(np.float64)).T
    low, high = np.floor(at.min(0)) - margin, np.ceil(at.max(0)) + margin
    left, top = (int(min(max(0, start), limit - 1)) for start, limit in zip(low, (shape[1], shape[0]), strict=True))
    right, bottom = (
        int(min(max(start + 1, end), limit))
        for start, end, limit in zip((left, top), high, (shape[1], shape[0]), strict=True)
    )
    return left, top, right, bottom


def _averaged(low: int, high: int, limit: int, factor: int) -> tuple[int, int, int]:
    """First sample, number of averages and samples in each, along one side of a plane with `limit` samples.

    What is left over at the far end, less than a `factor`, goes on as the border does.
    """
    factor = min(factor, limit)
    most = limit // factor
    first = min(max(0, low // factor - 1), most - 1)
    end = min(max(first + 1, -(-high // factor) + 1), most)
    return first * factor, end - first, factor


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


def subsampled(frame: NativeFrame) -> bool:
    """Whether chroma has fewer samples than luma."""
    return bool(frame.chroma_shift_x or frame.chroma_shift_y) and len(frame.planes) > 1


def chroma_offset(frame: NativeFrame) -> tuple[float, float]:
    """Where chroma sample (0, 0) lies, in luma pixels. Not stated means left, as MPEG-2 and H.264 take it."""
    location = frame.colour.chroma_location
    x = 0.5 if frame.chroma_shift_x and location in _CENTRED_X else 0.0
    y = 0.0 if not frame.chroma_shift_y or location in _TOP else 1.0 if location in _BOTTOM else 0.5
    return x, y


def _chroma_matrix(frame: NativeFrame, matrix: Matrix) -> Floats:
    x, y = chroma_offset(frame)
    to_luma = np.array([[1 << frame.chroma_shift_x, 0, x], [0, 1 << frame.chroma_shift_y, y], [0, 0, 1]], np.float64)
    return np.asarray(np.asarray(matrix, np.float64) @ to_luma, np.float32)


def _key(frame: NativeFrame) -> tuple[str, tuple[float, float], bool, int]:
    """What the conversion depends on: kind of planes, Kr and Kb, full range, bits."""
    name, tags = frame.pixel_format, frame.colour
    kind = "gray" if len(frame.planes) == 1 else "rgb" if name.startswith("gbr") or tags.matrix == 0 else "yuv"
    full = tags.colour_range == 2 or name.startswith("yuvj") or (tags.colour_range != 1 and kind != "yuv")
    if kind == "yuv" and tags.matrix == _YCGCO:
        return "ycgco", _WEIGHTS[_BT601], full, frame.bit_depth
    return kind, _weights(tags, frame.height_px), full, frame.bit_depth


def _weights(tags: ColourTags, rows: int) -> tuple[float, float]:
    """Kr and Kb: by the stated matrix, by the primaries where that says so, else by the size of the picture."""
    if tags.matrix in _WEIGHTS:
        return _WEIGHTS[tags.matrix]
    if tags.matrix == _BY_PRIMARIES and tags.primaries in _CHROMATICITIES:
        return _derived_weights(tags.primaries)
    return _WEIGHTS[_BT709 if rows >= _HD_ROWS else _BT601]


@lru_cache(maxsize=16)
def _derived_weights(primaries: int) -> tuple[float, float]:
    """Kr and Kb as the luminance of red and blue when all three together are white (H.273, matrix 12)."""
    *colours, white = ((x / y, 1.0, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries])
    red, _, blue = np.linalg.solve(np.array(colours).T, np.array(white)).tolist()
    return red, blue


@lru_cache(maxsize=64)
def _bgr_matrix(kind: str, weights: tuple[float, float], full: bool, bits: int) -> Floats:
    """float32 (3, 3 or 1 + 1): native samples (and 1) -> B, G, R in 0..255."""
    black, luma_span, chroma_span, middle = _codes(full, bits)
    luma = 255.0 / luma_span
    if kind == "gray":
        return np.array([[luma, -black * luma]] * 3, np.float32)
    if kind == "rgb":
        return np.array([[luma * (r == c) for c in range(3)] + [-black * luma] for r in range(3)], np.float32)
    if kind == "ycgco":  # Cg and Co where Cb and Cr are, H.273 (38) to (43)
        # In limited range they have the codes of luma, not the one more percent of Cb and Cr.
        rows = luma * np.array([[1.0, -1.0, -1.0], [1.0, 1.0, 0.0], [1.0, -1.0, 1.0]])
        return np.asarray(np.hstack([rows, (-rows @ np.array([black, middle, middle]))[:, None]]), np.float32)
    red, blue = weights
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


def difference_matrix(frame: NativeFrame) -> Floats:
    """float32 (3, 3): a difference of B, G, R (0..255) -> that of the frame's own samples; gray repeats its row."""
    return _difference_matrix(*_key(frame))


@lru_cache(maxsize=64)
def _difference_matrix(kind: str, weights: tuple[float, float], full: bool, bits: int) -> Floats:
    """float32 (3, 3): difference of B, G, R (0..255) -> difference of the native samples; gray repeats its row."""
    _, luma_span, chroma_span, _ = _codes(full, bits)
    if kind == "rgb":
        return np.asarray(np.eye(3) * luma_span / 255.0, np.float32)
    if kind == "ycgco":
        luma_chroma = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [-0.5, 0.0, 0.5]])
        return np.asarray(luma_chroma * luma_span / 255.0, np.float32)
    red, blue = _WEIGHTS[_BT601] if kind == "gray" else weights
    shares = np.array([blue, 1 - red - blue, red])
    luma = shares * luma_span / 255.0
    if kind == "gray":
        return np.asarray(np.stack([luma, luma, luma]), np.float32)
    cb = (np.array([1.0, 0, 0]) - shares) / (2 * (1 - blue)) * chroma_span / 255.0
    cr = (np.array([0, 0, 1.0]) - shares) / (2 * (1 - red)) * chroma_span / 255.0
    return np.asarray(np.stack([luma, cb, cr]), np.float32)


def _codes(full: bool, bits: int) -> tuple[float, float, float, float]:
    """Code of black, codes from black to white, codes across chroma, code of no colour."""
    unit = float(1 << (bits - 8))
    top = float((1 << bits) - 1)
    return (0.0, top, top, 128 * unit) if full else (16 * unit, 219 * unit, 224 * unit, 128 * unit)
