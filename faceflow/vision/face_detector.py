"""BlazeFace (full range): where faces may be, quickly and roughly.

The network sees 192 x 192 pixels. A face that is small in the frame scores low there, so the overview is looked at
as a whole and again in overlapping square tiles of three quarters of its short side; what a tile's inner edge cuts
is left to the neighbour that sees it whole. Decoding follows MediaPipe's `ssd_anchors_calculator` and
`tensors_to_detections_calculator` for `face_detection_full_range`: one anchor per cell of a 48 x 48 grid at its
centre, 16 numbers a cell (box centre and size, six key points) in input pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.shapes import Picture
from faceflow.vision.shipped_models import FULL_RANGE_DETECTOR, load_model

_INPUT_PX = 192
_CELLS = 48
_TILE_SHARE = 0.75
"""Tile side as a share of the picture's short side: lifts the scores of small faces (measured on group pictures)."""
_MOST_TILES_ALONG = 6
_TILES_A_TURN = 2
_OVERLAP_ALLOWED = 0.3
"""Two boxes that overlap more (intersection over union) are one face: MediaPipe's suppression threshold."""
_LOGIT_LIMIT = 80.0


@dataclass(frozen=True, slots=True)
class Detection:
    """A rough face.

    Attributes:
        box: float32 (4,), left, top, right, bottom in picture pixels.
        points: float32 (6, 2): eye left and right in the picture, nose tip, mouth, ear left and right.
        score: 0 to 1.
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]
    score: float


def detect(picture: Picture, least_score: float = 0.5, turn: int | None = None) -> list[Detection]:
    """Faces of `picture` (uint8 (H, W, 3), BGR) that score at least `least_score`, best first.

    With a `turn` (0, 1, 2, ...) only the whole and two tiles are searched, others at each turn: for pictures that
    follow one another quickly.
    """
    height, width = picture.shape[:2]
    found: list[Detection] = []
    whole, *tiles = _tiles(width, height)
    if turn is not None and len(tiles) > _TILES_A_TURN:
        tiles = [tiles[(turn * _TILES_A_TURN + step) % len(tiles)] for step in range(_TILES_A_TURN)]
    for left, top, right, bottom in [whole, *tiles]:
        for detection in _detect_in(picture[top:bottom, left:right], least_score):
            box = detection.box + np.array([left, top, left, top], np.float32)
            slack = 0.01 * (right - left)
            cut = (
                (left > 0 and box[0] < left + slack)
                or (top > 0 and box[1] < top + slack)
                or (right < width and box[2] > right - slack)
                or (bottom < height and box[3] > bottom - slack)
            )
            if not cut:
                points = detection.points + np.array([left, top], np.float32)
                found.append(Detection(box, points, detection.score))
    return _suppressed(found)


def detect_large(picture: Picture, least_score: float = 0.5) -> list[Detection]:
    """As `detect`, but only faces that are seen well in the whole picture: one run of the network."""
    return _suppressed(_detect_in(picture, least_score))


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    whole = (0, 0, width, height)
    side = max(round(min(width, height) * _TILE_SHARE), -(-max(width, height) * 2 // (_MOST_TILES_ALONG + 1)))
    if side >= min(width, height) and side >= max(width, height):
        return [whole]
    tiles = [
        (left, top, min(left + side, width), min(top + side, height))
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]
    return [whole, *tiles]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = max(2, 1 + -(-2 * (length - side) // side))  # neighbours overlap by half a tile
    return [round(step * (length - side) / (count - 1)) for step in range(count)]


def _detect_in(tile: Picture, least_score: float) -> list[Detection]:
    rows, columns = tile.shape[:2]
    scale = _INPUT_PX / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    left, top = (_INPUT_PX - size[0]) // 2, (_INPUT_PX - size[1]) // 2
    small = cv2.resize(tile, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    tensor = np.full((1, _INPUT_PX, _INPUT_PX, 3), -1.0, np.float32)
    tensor[0, top : top + size[1], left : left + size[0]] = small[..., ::-1] * np.float32(2 / 255) - np.float32(1)
    numbers, logits = load_model(FULL_RANGE_DETECTOR)(tensor)
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1), -_LOGIT_LIMIT, _LOGIT_LIMIT)))
    detections = []
    for cell in np.flatnonzero(scores >= least_score):
        anchor = (np.array([cell % _CELLS, cell // _CELLS]) + 0.5) * (_INPUT_PX / _CELLS)
        pairs = numbers[0, cell].reshape(8, 2)
        centre, half = pairs[0] + anchor, pairs[1] / 2
        points = np.concatenate([[centre - half, centre + half], pairs[2:] + anchor])
        points = ((points - (left, top)) / scale).astype(np.float32)
        if (points[1] > points[0]).all():
            detections.append(Detection(points[:2].reshape(4), points[2:], float(scores[cell])))
    return _suppressed(detections)


def _suppressed(detections: list[Detection]) -> list[Detection]:
    """Weighted suppression (MediaPipe): overlapping boxes become one, the mean weighted by score."""
    rest = sorted(detections, key=lambda detection: -detection.score)
    kept = []
    while rest:
        best = rest[0]
        same = [other for other in rest if overlap(best.box, other.box) > _OVERLAP_ALLOWED]
        rest = [other for other in rest[1:] if overlap(best.box, other.box) <= _OVERLAP_ALLOWED]
        weights = np.array([other.score for other in same], np.float32)
        weights /= weights.sum()
        box = sum(weight * other.box for weight, other in zip(weights, same, strict=True))
        points = sum(weight * other.points for weight, other in zip(weights, same, strict=True))
        kept.append(Detection(np.asarray(box, np.float32), np.asarray(points, np.float32), best.score))
    return kept


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom), 0 to 1."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides.prod())
    return shared / (float((one[2:] - one[:2]).prod()) + float((other[2:] - other[:2]).prod()) - shared)
