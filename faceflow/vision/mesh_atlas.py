"""The source's face as a flat frontal texture (atlas), put together from one or several portraits.

Each portrait is drawn into frontal space through the mesh, with a confidence a texel: how squarely the surface
looked at the camera, and on the forehead and temples whether the colour is that of the person's skin (hair there
would show up as a fringe on somebody else's forehead). Portraits are averaged by confidence; what none shows is
taken from the mirror image, and the rest is filled from its surroundings, coarse to fine (push-pull, Gortler et
al. 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_landmarker import region_of_face
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_topology import BROWS, HOLES, INNER_LIPS, OVAL, facing, frontal
from faceflow.vision.model import Picture
from faceflow.vision.view import PictureView

ATLAS_PX = 512
"""Side of the atlas; the face's height fills 94% of it."""
_SCALE = ATLAS_PX * 0.94
_TOP = ATLAS_PX * 0.03
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
    best = max(range(len(readings)), key=lambda number: float(readings[number][1].sum()))
    total = np.zeros((ATLAS_PX, ATLAS_PX, 3), np.float32)
    weight = np.zeros((ATLAS_PX, ATLAS_PX), np.float32)
    for number, (texture, confidence) in enumerate(readings):
        even = texture if number == best else _levelled(texture, confidence, *readings[best])
        total += even * confidence[..., None]
        weight += confidence
    texture = total / np.maximum(weight, 1e-6)[..., None]
    return _completed(texture, np.minimum(weight, 1.0))


@lru_cache(maxsize=1)
def coverage() -> Floats:
    """float32 (512, 512), 0 to 1: how much of the swap shows at each texel.

    Fades to 0 at the face's outline, more slowly on the forehead (hairlines differ), and at the rings of the eyes
    and of the mouth's opening, inside which the target stays.
    """
    points = atlas_points()[:, :2]
    inside = _polygon(points[list(OVAL)])
    height = _SCALE
    edge = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / height
    alpha = _smoothstep(0.005, 0.085, edge)
    brow = float(points[list(BROWS), 1].min())
    rows = (np.arange(ATLAS_PX, dtype=np.float32)[:, None] - _TOP) / (brow - _TOP)
    alpha = alpha * _smoothstep(0.05, 0.80, rows)
    for ring in HOLES:
        hole = _polygon(points[list(ring)])
        distance = cv2.distanceTransform(255 - hole, cv2.DIST_L2, 5) / height
        reach = 0.018 if ring is INNER_LIPS else 0.03
        alpha = alpha * _smoothstep(0.0, reach, distance)
    return np.asarray(alpha, np.float32)


def _read(picture: Picture, landmarks: Floats) -> tuple[Floats, Floats]:
    """Texture float32 (512, 512, 3) and confidence float32 (512, 512) of one portrait."""
    region = region_of_face(landmarks)
    matrix = region.matrix(_PATCH_PX)
    patch = PictureView(picture).patch(matrix, _PATCH_PX)
    scale = _PATCH_PX / region.side
    flat = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    upright = np.column_stack([flat, landmarks[:, 2] * scale]).astype(np.float32)
    seen = _smoothstep(0.15, 0.65, facing(upright))
    values = np.column_stack([flat / _PATCH_PX, seen]).clip(0, 1).astype(np.float32)
    drawn, covered = draw_mesh(atlas_points(), values, ATLAS_PX)
    texture = cv2.remap(
        patch,
        drawn[..., 0] * np.float32(_PATCH_PX),
        drawn[..., 1] * np.float32(_PATCH_PX),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)
    confidence = drawn[..., 2] * covered
    return texture, np.asarray(confidence * _skin(texture, confidence), np.float32)


def _skin(texture: Floats, confidence: Floats) -> Floats:
    """float32 (512, 512): 1 where the colour fits the person's cheeks and nose, 0 for hair; judged above the brows only."""
    lab = cv2.cvtColor(texture.clip(0, 255).astype(np.uint8), cv2.COLOR_BGR2Lab).astype(np.float32)
    lab = cv2.GaussianBlur(lab, (0, 0), 3)
    cheeks = _cheeks() & (confidence > 0.5)
    if cheeks.sum() < 200:
        cheeks = _cheeks()
    sample = lab[cheeks]
    middle = np.median(sample, axis=0)
    spread = np.maximum(np.median(np.abs(sample - middle), axis=0) * 1.4826, [10.0, 4.0, 4.0])
    away = (lab - middle) / spread
    away[..., 0] = np.minimum(away[..., 0], 0)  # a bright forehead is still skin; hair is darker or another hue
    distance = np.sqrt(np.square(away).sum(axis=2))
    fits = 1 - _smoothstep(2.0, 4.0, distance)
    fits = cv2.erode(fits, np.ones((9, 9), np.uint8))
    above = 1 - _smoothstep(0.70, 0.95, _rows())
    return np.asarray(1 - above * (1 - fits), np.float32)


@lru_cache(maxsize=1)
def _rows() -> Floats:
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


def _levelled(texture: Floats, confidence: Floats, model: Floats, model_confidence: Floats) -> Floats:
    """`texture` with mean and spread of each channel brought to the model's, where both are seen."""
    both = np.minimum(confidence, model_confidence)
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
    mirrored = other * np.clip(own_light / np.maximum(other_light, 1), 0.6, 1.6)
    take = (1 - confidence) * seen
    known = confidence + take
    mixed = (texture * confidence[..., None] + mirrored * take[..., None]) / np.maximum(known, 1e-6)[..., None]
    filled = _push_pull(mixed, known)
    sure = _smoothstep(0.05, 0.5, known)[..., None]
    return np.asarray((mixed * sure + filled * (1 - sure)).clip(0, 255).round(), np.uint8)


def _light(texture: Floats, confidence: Floats) -> Floats:
    """Low-frequency colour, spread from where the texture is known (normalised convolution)."""
    weight = confidence[..., None] + np.float32(1e-4)
    small = cv2.resize(texture * weight, (64, 64), interpolation=cv2.INTER_AREA)
    small_weight = cv2.resize(weight, (64, 64), interpolation=cv2.INTER_AREA)[..., None]
    light = cv2.GaussianBlur(small, (0, 0), 8) / cv2.GaussianBlur(small_weight, (0, 0), 8)[..., None]
    return np.asarray(cv2.resize(light, (ATLAS_PX, ATLAS_PX), interpolation=cv2.INTER_LINEAR), np.float32)


def _push_pull(texture: Floats, weight: Floats) -> Floats:
    """Fills texels of low weight from coarser levels that know more."""
    if texture.shape[0] <= 2:
        mean = (texture * weight[..., None]).sum((0, 1)) / max(1e-6, float(weight.sum()))
        return np.asarray(np.broadcast_to(mean, texture.shape), np.float32)
    half = (texture.shape[1] // 2, texture.shape[0] // 2)
    coarse_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(texture * weight[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = coarse / np.maximum(coarse_weight, 1e-6)[..., None]
    below = _push_pull(coarse, np.minimum(coarse_weight * 2, 1))
    spread = cv2.resize(below, (texture.shape[1], texture.shape[0]), interpolation=cv2.INTER_LINEAR)
    sure = np.minimum(weight, 1)[..., None]
    return np.asarray(texture * sure + spread * (1 - sure), np.float32)


def _polygon(points: Floats) -> NDArray[np.uint8]:
    mask = np.zeros((ATLAS_PX, ATLAS_PX), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    return mask


def _smoothstep(low: float, high: float, value: Floats) -> Floats:
    share = ((value - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
