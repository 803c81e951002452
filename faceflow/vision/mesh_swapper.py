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
from faceflow.vision.mesh_atlas import ATLAS_PX, atlas_points, build_atlas, coverage, rows_above_brows
from faceflow.vision.mesh_colour import colour_transfer, hair_over, relit
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_topology import facing
from faceflow.vision.model import Face, Identity, Picture, SwappedCrop, TargetCrop

Floats = NDArray[np.float32]

_MARGIN = 1.12
"""Crop side as a multiple of the face's longer side."""
_SIDE_STEP, _LEAST_SIDE, _LARGEST_SIDE = 64, 128, 512
_STEEP = (-0.05, 0.25)
"""Cosine of the angle to the viewer at which the swap is gone, and from which it is whole."""
_FOREHEAD = (0.55, 0.85)
"""Rows of the forehead (0 top, 1 brows) between which hair of the target stops being looked for."""
_BORDER_PX = 2


@dataclass(frozen=True, slots=True)
class MeshIdentity:
    """A source as the mesh swapper wants it.

    Attributes:
        name: the source's name.
        levels: uint8 (512, 512, 4), (256, 256, 4), (128, 128, 4): texture in BGR and coverage, each half the last.
    """

    name: str
    levels: tuple[NDArray[np.uint8], ...] = field(repr=False)


class MeshSwapper:
    """Texture on mesh. Holds no state; safe to share between threads."""

    name = "mesh"
    version = "1"

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
        return MeshIdentity(name, tuple(levels))

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
        flat = atlas_points()[:, :2]
        seen = _smoothstep(*_STEEP, facing(landmarks))
        values = np.column_stack([(flat + 0.5) / ATLAS_PX, seen]).astype(np.float32)
        drawn, covered = draw_mesh(landmarks, values, side)
        level = _level(identity, _extent(landmarks))
        texels = np.float32(level.shape[0])
        rendered = cv2.remap(
            level,
            drawn[..., 0] * texels - np.float32(0.5),
            drawn[..., 1] * texels - np.float32(0.5),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        alpha = rendered[..., 3].astype(np.float32) * np.float32(1 / 255) * drawn[..., 2] * covered
        alpha *= 1 - hair_over(crop.pixels, alpha, _forehead(drawn[..., 1]) * covered)
        texture = np.ascontiguousarray(rendered[..., :3], np.uint8)
        matrix, offset = colour_transfer(texture, crop.pixels, alpha)
        moved = cv2.transform(texture.astype(np.float32), np.column_stack([matrix, offset]))
        coloured = np.asarray(moved, np.float32)
        width = float(np.ptp(landmarks[:, 0]))
        lit = relit(coloured, crop.pixels, alpha, width)
        mask = cv2.GaussianBlur(alpha, (0, 0), max(0.6, width * 0.008)) * np.float32(255)
        mask *= covered  # no texture beyond the mesh
        mask[:_BORDER_PX] = mask[-_BORDER_PX:] = 0
        mask[:, :_BORDER_PX] = mask[:, -_BORDER_PX:] = 0
        whole = np.asarray(np.rint(mask), np.uint8)
        pixels = np.where(whole[..., None] > 0, np.rint(lit).clip(0, 255), crop.pixels).astype(np.uint8)
        return SwappedCrop(pixels=pixels, mask=whole)


def _forehead(v: Floats) -> Floats:
    """float32: 1 above the brows, 0 from the brows down, by the atlas row (0 to 1) that is drawn at each pixel."""
    table = (1 - _smoothstep(*_FOREHEAD, rows_above_brows()[:, 0])).astype(np.float32)
    rows = np.minimum((v * np.float32(ATLAS_PX)).astype(np.int32), ATLAS_PX - 1)
    return np.asarray(table[rows], np.float32)


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
