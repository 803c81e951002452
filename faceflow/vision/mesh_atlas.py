"""The source's face as a flat frontal texture (atlas), put together from one or several portraits.

Each portrait is drawn into frontal space through the mesh, with a confidence a texel: how squarely the surface
looked at the camera, and on the forehead and temples whether the colour is that of the person's skin (hair there
would show up as a fringe on somebody else's forehead). Portraits are averaged by confidence; what none shows is
taken from the mirror image, and the rest is filled from its surroundings, coarse to fine (push-pull, Gortler et
al. 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_landmarker import region_of_face
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_topology import BROWS, HOLES, INNER_LIPS, OUTER_LIPS, OVAL, facing, frontal
from faceflow.vision.shapes import Picture
from faceflow.vision.view import PictureView

ATLAS_PX = 512
"""Side of the atlas; the face's height fills 94% of it."""
_SCALE = ATLAS_PX * 0.94
_TOP = ATLAS_PX * 0.03
_SOFT_PX = 2.8
"""Sigma of the coverage's softness, 0.008 of the face's width: a harder rim at lids and lips shows as a step."""
_SQUARE = (0.25, 0.75)
"""Cosine of the angle to the camera at which a texel counts nothing, and from which it counts fully."""
_PATCH_PX = 768
"""Side of the upright patch that a portrait's face is read from: the face fills two thirds of it."""

Floats = NDArray[np.float32]


def atlas_points() -> Floats:
    """float32 (468, 3): the mesh in atlas pixels (z in the same scale)."""
    scaled = frontal() * np.float32(_SCALE)
    return scaled + np.array([(ATLAS_PX - 1) / 2, _TOP, 0], np.float32)


def build_atlas(portraits: Sequence[tuple[Picture, Floats]]) -> Picture:
    """The atlas of one person: uint8 (512, 512, 3), BGR, filled everywhere.

    Args:
        portraits: pictures (uint8 (H, W, 3), BGR) and the face's landmarks (float32 (468, 3)) in each.
    """
    readings = [_read(picture, landmarks) for picture, landmarks in portraits]
    # Portraits differ in exposure and white balance: all are brought to the one that shows most.
    best = max(range(len(readings)), key=lambda number: float(readings[number].confidence.sum()))
    total = np.zeros((ATLAS_PX, ATLAS_PX, 3), np.float32)
    weight = np.zeros((ATLAS_PX, ATLAS_PX), np.float32)
    for number, reading in enumerate(readings):
        even = reading.texture if number == best else _levelled(reading, readings[best])
        total += even * reading.confidence[..., None]
        weight += reading.confidence
    texture = np.asarray(total / np.maximum(weight, 1e-6)[..., None], np.float32)
    return _completed(texture, np.minimum(weight, 1.0))


@lru_cache(maxsize=1)
def coverage() -> Floats:
    """float32 (512, 512), 0 to 1: how much of the swap shows at each texel.

    Fades to 0 at the face's outline, more slowly on the forehead (hairlines differ), and at the rings of the eyes
    and of the mouth's opening, inside which the target stays. Brows and eyelids carry most of a likeness, so the
    swap reaches close to the eyes.
    """
    points = atlas_points()[:, :2]
    edge = _distance_within(_polygon(points[list(OVAL)]))
    alpha = _smoothstep(0.008, 0.080, edge)
    alpha = alpha * _smoothstep(0.0, 0.50, rows_above_brows())
    for ring in HOLES:
        distance = _distance_within(np.asarray(255 - _polygon(points[list(ring)]), np.uint8))
        reach = 0.010 if ring is INNER_LIPS else 0.006
        alpha = alpha * _smoothstep(0.0, reach, distance)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), _SOFT_PX), np.float32)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One portrait in atlas space.

    Attributes:
        texture: float32 (512, 512, 3), BGR.
        confidence: float32 (512, 512), 0 to 1.
    """

    texture: Floats
    confidence: Floats


def _read(picture: Picture, landmarks: Floats) -> _Reading:
    region = region_of_face(landmarks)
    matrix = region.matrix(_PATCH_PX)
    patch = PictureView(picture).patch(matrix, _PATCH_PX)
    scale = _PATCH_PX / region.side
    flat = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    upright = np.column_stack([flat, landmarks[:, 2] * scale]).astype(np.float32)
    seen = _smoothstep(*_SQUARE, facing(upright))
    values = np.column_stack([flat / _PATCH_PX, seen]).clip(0, 1).astype(np.float32)
    drawn, covered = draw_mesh(atlas_points(), values, (ATLAS_PX, ATLAS_PX))
    x, y = drawn[..., 0] * np.float32(_PATCH_PX), drawn[..., 1] * np.float32(_PATCH_PX)
    looked_up = cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    texture = np.asarray(looked_up, np.float32)
    confidence = np.asarray(drawn[..., 2] * covered, np.float32)
    return _Reading(texture, confidence * _skin(texture, confidence))


def _skin(texture: Floats, confidence: Floats) -> Floats:
    """float32 (512, 512): 1 where the colour is that of the person's cheeks and nose, or a brow, an eye or a lip is.

    On the whole face by hue alone (background that slips in beside a profile is another hue, a shadow is not), where
    hair may hang by brightness too; on the forehead hair goes on to the top once it begins.
    """
    codes = np.asarray(texture.clip(0, 255), np.uint8)
    lab = np.asarray(cv2.GaussianBlur(cv2.cvtColor(codes, cv2.COLOR_BGR2Lab), (0, 0), 3), np.float32)
    cheeks = _cheeks() & (confidence > 0.5)
    sample = lab[cheeks if cheeks.sum() >= 200 else _cheeks()]
    middle = np.median(sample, axis=0)
    spread = np.maximum(np.median(np.abs(sample - middle), axis=0) * 1.4826, [11.0, 5.0, 5.0])
    away = np.asarray((lab - middle) / spread, np.float32)
    hue = np.asarray(np.sqrt(np.square(away[..., 1:]).sum(axis=2)), np.float32)
    face = np.maximum(1 - _smoothstep(3.0, 5.0, hue), features())
    fits = 1 - _smoothstep(1.6, 2.6, np.asarray(np.sqrt(np.square(away).sum(axis=2)), np.float32))
    fits = np.asarray(cv2.erode(1 - _hair_zone() * (1 - fits), np.ones((27, 27), np.uint8)), np.float32)
    bare = np.minimum.accumulate(np.maximum(fits, features())[::-1], axis=0)[::-1]
    # A wide seam between seen and filled skin that stays below the hair, which throws a shadow; brows stay whole.
    below = cv2.GaussianBlur(cv2.erode(bare, np.ones((31, 31), np.uint8)), (0, 0), 8)
    return np.asarray(face * np.maximum(below, bare * features()), np.float32)


@lru_cache(maxsize=1)
def _hair_zone() -> Floats:
    """float32 (512, 512): 1 where hair may hang: the forehead and, above the mouth, a strip along the outline."""
    points = atlas_points()[:, :2]
    above = 1 - _smoothstep(0.70, 0.95, rows_above_brows())
    edge = _distance_within(_polygon(points[list(OVAL)]))
    down = np.arange(ATLAS_PX, dtype=np.float32)[:, None] / np.float32(points[INNER_LIPS[0], 1])
    strip = (1 - _smoothstep(0.05, 0.10, edge)) * (1 - _smoothstep(0.7, 0.9, down))
    return np.asarray(np.maximum(above, strip), np.float32)


@lru_cache(maxsize=2)
def features(nostrils: bool = True) -> Floats:
    """float32 (512, 512): 1 over brows, eyes, lips and nostrils: not of the skin's colour, and part of the face."""
    points = atlas_points()[:, :2]
    mask = np.zeros((ATLAS_PX, ATLAS_PX), np.uint8)
    half = len(BROWS) // 2
    groups = (BROWS[:half], BROWS[half:], *HOLES, OUTER_LIPS, *([(48, 278, 2, 4)] if nostrils else []))
    for group in groups:
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[list(group)]).astype(np.int32)), 255)
    wide = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), 3), np.float32) / np.float32(255)


@lru_cache(maxsize=1)
def rows_above_brows() -> Floats:
    """float32 (512, 1): 0 at the top of the forehead, 1 at the upper edge of the brows."""
    brow = float(atlas_points()[list(BROWS), 1].min())
    return np.asarray((np.arange(ATLAS_PX, dtype=np.float32)[:, None] - _TOP) / (brow - _TOP), np.float32)


@lru_cache(maxsize=1)
def _cheeks() -> NDArray[np.bool_]:
    """bool (512, 512): cheeks and nose, by the mesh points 50, 280 (cheeks), 205, 425 (beside the nose) and 4, 195."""
    points = atlas_points()[:, :2]
    mask = np.zeros((ATLAS_PX, ATLAS_PX), np.uint8)
    for number in (50, 280, 205, 425, 4, 195):
        centre = (round(float(points[number, 0])), round(float(points[number, 1])))
        cv2.circle(mask, centre, round(0.05 * _SCALE), 255, -1)
    return np.asarray(mask > 0)


def _levelled(reading: _Reading, best: _Reading) -> Floats:
    """The reading's texture with mean and spread of each channel brought to the best one's, where both are seen."""
    texture, model = reading.texture, best.texture
    both = np.minimum(reading.confidence, best.confidence)
    if both.sum() < 500:
        return texture
    weights = (both / both.sum())[..., None]
    mean, wanted = (texture * weights).sum((0, 1)), (model * weights).sum((0, 1))
    spread = np.sqrt((np.square(texture - mean) * weights).sum((0, 1)))
    aim = np.sqrt((np.square(model - wanted) * weights).sum((0, 1)))
    return np.asarray((texture - mean) * np.clip(aim / np.maximum(spread, 1), 0.7, 1.4) + wanted, np.float32)


def _completed(texture: Floats, confidence: Floats) -> Picture:
    """Fills what the portraits do not show: first from the mirror image, then from the surroundings."""
    other, seen = texture[:, ::-1], confidence[:, ::-1]
    # The lamp stands on one side: the mirrored half is shaded like the half that it lands on.
    own_light, other_light = _light(texture, confidence), _light(other, seen)
    mirrored = other * np.clip(own_light / np.maximum(other_light, 1), 0.75, 1.33)[..., None]
    take = (1 - confidence) * seen
    known = confidence + take
    both = texture * confidence[..., None] + mirrored * take[..., None]
    mixed = np.asarray(both / np.maximum(known, 1e-6)[..., None], np.float32)
    # Bare skin well inside the face is what a hidden forehead is made of, not brows, lips or the shade of the jaw.
    inner = _smoothstep(0.03, 0.08, _distance_within(_polygon(atlas_points()[list(OVAL), :2])))
    filled = _push_pull(mixed, np.asarray(known * (1 - features()) * inner, np.float32))
    cheeks = mixed[_cheeks() & (known > 0.5)]
    if len(cheeks):  # a hidden forehead is about as light as the cheeks
        above = (1 - _smoothstep(0.7, 1.2, rows_above_brows()))[..., None] * np.float32(0.75)
        filled = np.asarray(filled * (1 - above) + np.median(cheeks, axis=0) * above, np.float32)
    sure = _smoothstep(0.05, 0.95, known)[..., None]
    return np.asarray((mixed * sure + filled * (1 - sure)).clip(0, 255).round(), np.uint8)


def _light(texture: Floats, confidence: Floats) -> Floats:
    """float32 (512, 512): low-frequency brightness of what is known; its mean where nothing near is.

    Normalised convolution (Knutsson and Westin 1993).
    """
    luma = texture @ np.array([0.114, 0.587, 0.299], np.float32)
    small = cv2.resize(luma * confidence, (64, 64), interpolation=cv2.INTER_AREA)
    known = cv2.resize(confidence, (64, 64), interpolation=cv2.INTER_AREA)
    mean = float(small.sum()) / max(1e-6, float(known.sum()))
    floor = 0.05
    spread = cv2.GaussianBlur(small, (0, 0), 8) + np.float32(mean * floor)
    light = spread / (cv2.GaussianBlur(known, (0, 0), 8) + np.float32(floor))
    return np.asarray(cv2.resize(light, (ATLAS_PX, ATLAS_PX), interpolation=cv2.INTER_LINEAR), np.float32)


def _push_pull(texture: Floats, weight: Floats) -> Floats:
    """Fills texels of low weight from coarser levels that know more."""
    if texture.shape[0] <= 2:
        mean = (texture * weight[..., None]).sum((0, 1)) / max(1e-6, float(weight.sum()))
        return np.asarray(np.broadcast_to(mean, texture.shape), np.float32)
    half = (texture.shape[1] // 2, texture.shape[0] // 2)
    coarse_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    sum_below = cv2.resize(texture * weight[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = np.asarray(sum_below / np.maximum(coarse_weight, 1e-6)[..., None], np.float32)
    below = _push_pull(coarse, np.asarray(np.minimum(coarse_weight * 2, 1), np.float32))
    spread = cv2.resize(below, (texture.shape[1], texture.shape[0]), interpolation=cv2.INTER_LINEAR)
    sure = np.minimum(weight, 1)[..., None]
    return np.asarray(texture * sure + spread * (1 - sure), np.float32)


def _distance_within(mask: NDArray[np.uint8]) -> Floats:
    """float32 (512, 512): distance from the nearest 0 of `mask`, in face heights."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32) / np.float32(_SCALE)


def _polygon(points: Floats) -> NDArray[np.uint8]:
    mask: NDArray[np.uint8] = np.zeros((ATLAS_PX, ATLAS_PX), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    return mask


def _smoothstep(low: float, high: float, value: Floats) -> Floats:
    share = ((value - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
