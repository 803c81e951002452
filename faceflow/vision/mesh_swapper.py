"""The swapper that needs no downloads: the source's texture on the target's mesh.

The target's landmarks say where every point of the face is; the source's atlas says how it looks there. The atlas is
drawn through the target's mesh, coloured and lit like the target, and shown with a coverage that fades at the
outline, at the forehead and where the surface turns away (a strong profile fades back to the target). Eyes and the
mouth's opening are the target's own, so gaze, blinks and speech stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points, build_atlas, coverage, features, rows_above_brows
from faceflow.vision.mesh_colour import (
    FACE,
    SKIN,
    colour_transfer,
    highlights,
    light_over,
    off_skin,
    share_within,
    small,
)
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_topology import facing
from faceflow.vision.model import Face, Identity, Picture, SwappedCrop, TargetCrop

Floats = NDArray[np.float32]

_MARGIN = 1.12
"""Crop side as a multiple of the face's longer side."""
_SIDE_STEP, _LEAST_SIDE, _LARGEST_SIDE = 64, 128, 512
_STEEP, _OBLIQUE = 0.25, 0.55
"""Cosine of the angle to the viewer from which the swap is whole (at 0 it is gone), and from which the surface is
surely in front of what lies behind a profile."""
_FOREHEAD = (0.55, 0.85)
"""Rows of the forehead (0 top, 1 brows) between which hair of the target stops being looked for."""
_BORDER_PX = 2


@dataclass(frozen=True, slots=True)
class MeshIdentity:
    """A source as the mesh swapper wants it.

    Attributes:
        name: the source's name.
        levels: uint8 (512, 512, 4), (256, 256, 4), (128, 128, 4): texture in BGR and coverage, each half the last.
        zones: uint8 (512, 512, 3), 255 above the brows, where hair may hang; on brows, eyes and lips; where the
            source is of its skin's colour.
    """

    name: str
    levels: tuple[NDArray[np.uint8], ...] = field(repr=False)
    zones: NDArray[np.uint8] = field(repr=False)


class MeshSwapper:
    """Texture on mesh. Holds no state; safe to share between threads."""

    name = "mesh"
    version = "4"

    def crop_side_px(self, face: Face) -> int:
        """Side of the crop: the face times 1.12, rounded up to 64, within 128 to 512."""
        wanted = _extent(_landmarks(face)) * _MARGIN
        return int(np.clip(-(-wanted // _SIDE_STEP) * _SIDE_STEP, _LEAST_SIDE, _LARGEST_SIDE))

    def alignment(self, face: Face, side_px: int) -> Floats:
        """float32 (2, 3), frame -> crop: eyes level, the whole face in the middle with a margin around it."""
        landmarks = _landmarks(face)
        across = face.points[1] - face.points[0]
        angle = float(np.arctan2(across[1], across[0]))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        upright = landmarks[:, :2] @ turn.T
        low, high = upright.min(0), upright.max(0)
        scale = side_px / (_MARGIN * max(1.0, float((high - low).max())))
        # A large face is shrunk to the crop, a small one is never enlarged more than the crop's least side asks.
        linear = turn * scale
        offset = (side_px - 1) / 2 - (low + high) / 2 * scale
        return np.asarray(np.hstack([linear, offset[:, None]]), np.float32)

    def prepare(self, name: str, portraits: Sequence[tuple[Picture, Face]]) -> MeshIdentity:
        """Makes an identity of portraits (uint8 (H, W, 3), BGR) and their faces (with landmarks).

        Raises:
            EngineError: `engine.landmarks_missing` when the analyser gave no dense landmarks.
        """
        texture = build_atlas([(picture, _landmarks(face)) for picture, face in portraits])
        cover = np.asarray(np.rint(coverage() * 255), np.uint8)
        level = np.dstack([texture, cover])
        levels = [level]
        while level.shape[0] > _LEAST_SIDE:
            level = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            levels.append(level)
        return MeshIdentity(name, tuple(levels), _zones(texture))

    def swap(self, crops: Sequence[TargetCrop], identity: Identity) -> list[SwappedCrop]:
        """Swaps each crop; see `Swapper`.

        Raises:
            EngineError: `engine.identity_mismatch` for an identity of another swapper, `engine.landmarks_missing`.
        """
        if not isinstance(identity, MeshIdentity):
            raise EngineError(
                "engine.identity_mismatch",
                "The identity was prepared by another engine.",
                "Prepare the source with the engine that swaps.",
            )
        return [self._swap(crop, identity) for crop in crops]

    def _swap(self, crop: TargetCrop, identity: MeshIdentity) -> SwappedCrop:
        side = crop.pixels.shape[0]
        if crop.landmarks is None:
            raise _no_landmarks()
        landmarks = crop.landmarks
        drawn, covered = draw_mesh(landmarks, _values(landmarks), side)
        level = _level(identity, _extent(landmarks))
        texels = level.shape[0]
        u, v, frontal = cv2.split(drawn)
        seen = _smoothstep(0.0, _STEEP, np.asarray(frontal, np.float32))
        rendered = cv2.remap(
            level,
            cv2.addWeighted(u, texels, u, 0, -0.5),
            cv2.addWeighted(v, texels, v, 0, -0.5),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        texture, cover = np.ascontiguousarray(rendered[..., :3], np.uint8), cv2.extractChannel(rendered, 3)
        alpha = np.asarray(cv2.multiply(cover, seen, scale=1 / 255, dtype=cv2.CV_32F), np.float32)

        ours, theirs = small(texture), small(crop.pixels)
        size = (ours.shape[1], ours.shape[0])
        shown = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
        at = [cv2.resize(axis, size, interpolation=cv2.INTER_NEAREST) * np.float32(ATLAS_PX) for axis in (u, v)]
        zones = cv2.remap(identity.zones, at[0], at[1], cv2.INTER_NEAREST)
        forehead, feature, own = (zones[..., zone].astype(np.float32) * np.float32(1 / 255) for zone in range(3))
        bare = shown * (1 - feature)
        strange = off_skin(theirs, bare * (1 - forehead))
        skin = share_within(strange, SKIN)
        face = share_within(strange, FACE)
        cosine = np.asarray(cv2.resize(frontal, size, interpolation=cv2.INTER_AREA), np.float32)
        turned = 1 - _smoothstep(_STEEP, _OBLIQUE, cosine)
        # Hair in front of the forehead; what is seen behind a profile that the mesh overshoots.
        others = np.maximum((1 - skin) * forehead, (1 - face) * turned * (1 - feature))
        stays = (cv2.GaussianBlur(others, (0, 0), 0.8) * np.float32(1.2)).clip(0, 1)
        alpha *= 1 - cv2.resize(stays, (side, side), interpolation=cv2.INTER_LINEAR)
        weight = np.asarray(bare * skin * own, np.float32)
        matrix, offset = colour_transfer(ours, theirs, weight)
        move = np.column_stack([matrix, offset])
        width = float(np.ptp(landmarks[:, 0]))
        matched = np.asarray(cv2.transform(ours.astype(np.float32), move), np.float32)
        light = light_over(matched, theirs, bare * face * (1 - stays) * own, width * size[0] / side)
        moved = cv2.transform(texture.astype(np.float32), move)
        lit = cv2.add(moved, cv2.resize(light, (side, side), interpolation=cv2.INTER_LINEAR), dtype=cv2.CV_8U)
        lit = cv2.LUT(lit, highlights(theirs, weight))

        mask = cv2.convertScaleAbs(alpha, alpha=255)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, width * 0.008))
        mask[~covered] = 0  # no texture beyond the mesh
        mask[:_BORDER_PX] = mask[-_BORDER_PX:] = 0
        mask[:, :_BORDER_PX] = mask[:, -_BORDER_PX:] = 0
        pixels = cv2.copyTo(lit, mask, crop.pixels.copy())
        return SwappedCrop(pixels=np.asarray(pixels, np.uint8), mask=np.asarray(mask, np.uint8))


def _values(landmarks: Floats) -> Floats:
    """float32 (468, 3): place in the atlas (0 to 1) and cosine to the viewer, for each point of the mesh."""
    frontal = facing(landmarks).clip(0, 1)
    return np.asarray(np.column_stack([(atlas_points()[:, :2] + 0.5) / ATLAS_PX, frontal]), np.float32)


def _zones(texture: Picture) -> NDArray[np.uint8]:
    """See `MeshIdentity.zones`."""
    forehead = np.broadcast_to(1 - _smoothstep(*_FOREHEAD, rows_above_brows()), (ATLAS_PX, ATLAS_PX))
    feature = features(nostrils=False)
    own = share_within(off_skin(texture, coverage() * (1 - features()) * (1 - forehead)), SKIN)
    return np.asarray(np.rint(np.dstack([forehead, feature, own]) * 255), np.uint8)


def _level(identity: MeshIdentity, face_px: float) -> NDArray[np.uint8]:
    """The smallest level that still has as many texels as the face has pixels."""
    for level in reversed(identity.levels):
        if level.shape[0] >= face_px * 0.9:
            return level
    return identity.levels[0]


def _extent(landmarks: Floats) -> float:
    """The longer side of the face, in pixels, whatever its roll: twice the largest distance from its middle."""
    flat = landmarks[:, :2]
    return float(2 * np.linalg.norm(flat - (flat.min(0) + flat.max(0)) / 2, axis=1).max())


def _landmarks(face: Face) -> Floats:
    if face.landmarks is None:
        raise _no_landmarks()
    return face.landmarks


def _no_landmarks() -> EngineError:
    return EngineError(
        "engine.landmarks_missing",
        "The mesh engine needs dense landmarks, and the analyser gives none.",
        "Use the embedded analyser with the mesh engine.",
    )


def _smoothstep(low: float, high: float, value: Floats) -> Floats:
    share = ((value - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
