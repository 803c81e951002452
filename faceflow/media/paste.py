"""Puts a swapped crop back into a frame's own samples, and touches nothing else.

The swapped crop minus the target's own crop, times alpha, is turned into a difference of Y, U and V (the conversion
is linear) and added to the samples. So the target's own samples never make a round trip: where alpha is 0 the
difference is exactly 0 and the sample stays as it was, bit for bit, and where alpha is partial only the added part is
rounded. Only the rectangle of the mask is worked on. Most crops lie on the frame's own grid (they were only moved by
whole pixels) and are added sample by sample; others are warped back first.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.media.colour import (
    Bytes,
    Floats,
    Matrix,
    chroma_offset,
    cropped,
    difference_matrix,
    subsampled,
    whole_pixels,
)
from faceflow.media.native import NativeFrame, Plane

_STRIP_ROWS = 64
"""Even, so that a strip holds whole chroma blocks."""

Rectangle = tuple[int, int, int, int]
"""Left, top, right and bottom in frame pixels; right and bottom are outside."""


def paste(frame: NativeFrame, matrix: Matrix, pixels: Bytes, mask: Bytes) -> Rectangle:
    """Blends a crop into the frame's planes, in place.

    Args:
        frame: changed inside the returned rectangle only, and there only where the warped mask is above 0 (for
            chroma: where any luma sample of the block is).
        matrix: float32 (2, 3), frame -> crop.
        pixels: uint8 (H, W, 3), BGR.
        mask: uint8 (H, W), 0 keeps the frame, 255 takes `pixels`.

    Returns:
        Left, top, right, bottom of the rectangle that may have changed, aligned to the chroma grid.
    """
    x, y, columns, rows = cv2.boundingRect(mask)
    if not columns:
        return 0, 0, 0, 0
    corner = whole_pixels(matrix)
    if corner is not None:
        # One more pixel on either side, where the mask is 0: chroma is averaged across the edge.
        rectangle = _on_grid(frame, (corner[0] + x - 1, corner[1] + y - 1), (columns + 2, rows + 2))
        left, top, right, bottom = (limit - corner[axis % 2] for axis, limit in enumerate(rectangle))  # in the crop
        if left >= 0 and top >= 0 and right <= mask.shape[1] and bottom <= mask.shape[0]:
            if right > left and bottom > top:
                part = (slice(top, bottom), slice(left, right))
                _add_directly(frame, rectangle, pixels[part], mask[part])
            return rectangle
    return _add_warped(frame, matrix, pixels, mask, (x, y, columns, rows))


def _on_grid(frame: NativeFrame, corner: tuple[int, int], size: tuple[int, int]) -> Rectangle:
    """The rectangle, widened to whole chroma blocks, inside the frame; no wider than 0 where it lies outside."""
    step_x, step_y = 1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y
    left, top = max(0, corner[0] // step_x * step_x), max(0, corner[1] // step_y * step_y)
    right = min(frame.width_px, -(-(corner[0] + size[0]) // step_x) * step_x)
    bottom = min(frame.height_px, -(-(corner[1] + size[1]) // step_y) * step_y)
    return left, top, max(left, right), max(top, bottom)


def _add_directly(frame: NativeFrame, rectangle: Rectangle, pixels: Bytes, mask: Bytes) -> None:
    left, top, right, bottom = rectangle
    size = (right - left, bottom - top)
    own = cropped(frame, np.array([[1, 0, -left], [0, 1, -top]], np.float64), size)
    # In strips, so that what is made on the way stays in the processor's cache. What is added to a strip depends on
    # its own rows, except where chroma lies on the edge between two blocks of rows.
    step_y = 1 << frame.chroma_shift_y
    alone = not subsampled(frame) or chroma_offset(frame)[1] == (step_y - 1) / 2
    rows = _STRIP_ROWS if alone else size[1]
    for first in range(0, size[1], rows):
        strip = slice(first, min(first + rows, size[1]))
        part = left, top + strip.start, right, top + strip.stop
        _add_strip(frame, part, *_layers(frame, pixels[strip], own[strip], mask[strip]))


def _add_strip(frame: NativeFrame, rectangle: Rectangle, layers: list[Floats], alpha: Floats) -> None:
    left, top, right, bottom = rectangle
    size = (right - left, bottom - top)
    if not subsampled(frame):
        for plane, layer in zip(frame.planes, layers, strict=False):
            _add(plane[top:bottom, left:right], layer, frame.bit_depth)
        return
    _add(frame.planes[0][top:bottom, left:right], layers[0], frame.bit_depth)
    step_x, step_y = 1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y
    blocks = (-(-size[0] // step_x), -(-size[1] // step_y))
    whole = (blocks[0] * step_x, blocks[1] * step_y)
    touched = (_mean_of_blocks(_padded(alpha, whole), blocks) > 0).astype(np.float32)
    x, y = left // step_x, top // step_y
    for number in (1, 2):
        layer = _sited(frame, _padded(layers[number], whole), blocks)
        plane = frame.planes[number][y : y + blocks[1], x : x + blocks[0]]
        _add(plane, cv2.multiply(layer, touched), frame.bit_depth)


def _sited(frame: NativeFrame, layer: Floats, blocks: tuple[int, int]) -> Floats:
    """Means around the places of the chroma samples, which may lie on a block's edge instead of in its middle."""
    offset_x, offset_y = chroma_offset(frame)
    shift_x = offset_x - ((1 << frame.chroma_shift_x) - 1) / 2
    shift_y = offset_y - ((1 << frame.chroma_shift_y) - 1) / 2
    rows, columns = layer.shape
    means = _mean_of_blocks(layer, blocks)
    if not shift_x and not shift_y:
        return means
    # A mean half a sample further on is that of a block and of the block one sample further on, half and half.
    x, y = round(2 * shift_x), round(2 * shift_y)
    wide = cv2.copyMakeBorder(layer, max(0, -y), max(0, y), max(0, -x), max(0, x), cv2.BORDER_CONSTANT)
    moved = wide[max(0, y) : max(0, y) + rows, max(0, x) : max(0, x) + columns]
    return np.asarray(cv2.addWeighted(means, 0.5, _mean_of_blocks(moved, blocks), 0.5, 0), np.float32)


def _padded(layer: Floats, size: tuple[int, int]) -> Floats:
    """To whole blocks, where an odd frame's last block is half outside."""
    right, below = size[0] - layer.shape[1], size[1] - layer.shape[0]
    if not right and not below:
        return layer
    return np.asarray(cv2.copyMakeBorder(layer, 0, below, 0, right, cv2.BORDER_CONSTANT), np.float32)


def _layers(frame: NativeFrame, pixels: Bytes, own: Bytes, mask: Bytes) -> tuple[list[Floats], Floats]:
    """What must be added to the samples, one float32 layer a plane at full size, and alpha (0 to 1)."""
    change = cv2.transform(cv2.subtract(pixels, own, dtype=cv2.CV_32F), difference_matrix(frame))
    alpha = mask.astype(np.float32) * np.float32(1 / 255)
    return [np.asarray(cv2.multiply(layer, alpha), np.float32) for layer in cv2.split(change)], alpha


def _add_warped(
    frame: NativeFrame, matrix: Matrix, pixels: Bytes, mask: Bytes, bounds: tuple[int, int, int, int]
) -> Rectangle:
    x, y, columns, rows = bounds
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

    own = cropped(frame, to_part, (columns, rows))
    layers, alpha = _layers(frame, pixels, own, mask)

    # Whole chroma blocks, also where an odd frame's last block is half outside.
    blocks = (-(-(right - left) // step_x), -(-(bottom - top) // step_y))
    size = (blocks[0] * step_x, blocks[1] * step_y)
    here = to_part.copy()
    here[:, 2] += here[:, :2] @ (left, top)
    # Four channels at once, also where two are wanted: OpenCV's warp is slower with two or three.
    together = np.asarray(cv2.merge([*layers, alpha]), np.float32)
    step = _STRIP_ROWS // step_y * step_y
    for first in range(0, size[1], step):  # so that what is made on the way stays in the processor's cache
        strip = here.copy()
        strip[:, 2] += strip[:, 1] * first
        part = left, top + first, right, min(bottom, top + first + step)
        _add_pulled(frame, part, together, strip, (size[0], min(step, size[1] - first)))
    return left, top, right, bottom


def _add_pulled(
    frame: NativeFrame, rectangle: Rectangle, together: Floats, here: NDArray[np.float64], size: tuple[int, int]
) -> None:
    """Adds layers and alpha (float32 (H, W, 4)) of a crop to a part of the frame; `here`: that part -> crop."""
    left, top, right, bottom = rectangle
    warped = _pulled(together, here, size)
    if not subsampled(frame):
        for number, plane in enumerate(frame.planes):
            _add(plane[top:bottom, left:right], cv2.extractChannel(warped, number), frame.bit_depth)
        return
    step_x, step_y = 1 << frame.chroma_shift_x, 1 << frame.chroma_shift_y
    blocks = (size[0] // step_x, size[1] // step_y)
    cover = cv2.extractChannel(warped, 3)
    _add(frame.planes[0][top:bottom, left:right], cv2.extractChannel(warped, 0), frame.bit_depth)
    offset_x, offset_y = chroma_offset(frame)
    sited = here.copy()  # the mean of a block's samples must lie where the chroma sample is
    sited[:, 2] += sited[:, :2] @ (offset_x - (step_x - 1) / 2, offset_y - (step_y - 1) / 2)
    chroma = _mean_of_blocks(_pulled(together, sited, size), blocks)
    touched = (_mean_of_blocks(cover, blocks) > 0).astype(np.float32)
    x, y = left // step_x, top // step_y
    for number in (1, 2):
        plane = frame.planes[number][y : y + blocks[1], x : x + blocks[0]]
        _add(plane, cv2.multiply(cv2.extractChannel(chroma, number), touched), frame.bit_depth)


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
