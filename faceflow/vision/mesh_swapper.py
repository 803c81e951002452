"""The swapper that needs no downloads: the source's texture on the target's mesh.

The target's landmarks say where every point of the face is; the source's atlas says how it looks there. The atlas is
drawn through the target's mesh, coloured and lit like the target, and shown with a coverage that fades at the
outline, at the forehead and where the surface turns away (a strong profile fades back to the target). Eyes and the
mouth's opening are the target's own, so gaze, blinks and speech stay. Before all that the target's inner face,
picture and mesh, is bent towards the source's proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    recoloured,
    share_within,
    skin_brightness,
    taking,
)
from faceflow.vision.mesh_raster import draw_mesh
from faceflow.vision.mesh_shape import carried_along, neutral_shape, reshaped
from faceflow.vision.mesh_topology import closed_triangles, facing
from faceflow.vision.occlusion import refined
from faceflow.vision.shapes import Face, Identity, Picture, SwappedCrop, TargetCrop

Floats = NDArray[np.float32]

_MARGIN = 1.12
"""Crop side as a multiple of the face's longer side."""
_SIDE_STEP, _LEAST_SIDE, _LARGEST_SIDE = 32, 128, 768
_NATIVE = 0.74
"""Share of the crop's side that a face with its margin must fill to be cropped pixel by pixel."""
_GRID_PX = 128
"""Longest side of the grid on which the mesh is drawn; its steps are one pixel, or so many that it is about 96."""
_LEAST_RECTANGLE_PX = 16
_STEEP, _OBLIQUE = 0.25, 0.55
"""Cosine of the angle to the viewer from which the swap is whole (at 0 it is gone), and from which the surface is
surely in front of what lies behind a profile."""
_FOREHEAD = (0.55, 0.85)
"""Rows of the forehead (0 top, 1 brows) between which hair of the target stops being looked for."""
_BORDER_PX = 2
_BOTH_IN_ONE: Any = None
"""The second map of `cv2.remap` where the first holds x and y; its type stub does not know of that."""
_LEAST_LEVEL_PX = 64


@dataclass(frozen=True, slots=True)
class MeshIdentity:
    """A source as the mesh swapper wants it.

    Attributes:
        name: the source's name.
        levels: uint8 (512, 512, 4) to (64, 64, 4): texture in BGR and coverage, each half the last.
        zones: uint8 (512, 512, 3), 255 above the brows, where hair may hang; on brows, eyes and lips; where the
            source is of its skin's colour.
        shape: float32 (468, 3), the source's face in frontal space.
    """

    name: str
    levels: tuple[NDArray[np.uint8], ...] = field(repr=False)
    zones: NDArray[np.uint8] = field(repr=False)
    shape: Floats = field(repr=False)


class MeshSwapper:
    """Texture on mesh. Holds no state; safe to share between threads."""

    name = "mesh"
    version = "9"

    def crop_side_px(self, face: Face) -> int:
        """Side of the crop: the face times 1.12, rounded up to 32, within 128 to 768."""
        wanted = _extent(_landmarks(face)) * _MARGIN
        return int(np.clip(-(-wanted // _SIDE_STEP) * _SIDE_STEP, _LEAST_SIDE, _LARGEST_SIDE))

    def alignment(self, face: Face, side_px: int) -> Floats:
        """float32 (2, 3), frame -> crop: the whole face in the middle with a margin around it, not turned.

        Nearly always this only moves, by whole even pixels: the crop then holds the frame's own samples, and nothing is
        resampled on the way in or out. A face too small for the least side is enlarged, one too large for the largest
        shrunk.
        """
        flat = _landmarks(face)[:, :2]
        low, high = flat.min(0), flat.max(0)
        wanted = max(1.0, float((high - low).max())) * _MARGIN
        middle = (low + high) / 2
        if _NATIVE * side_px < wanted <= side_px:
            corner = np.round((middle - (side_px - 1) / 2) / 2) * 2
            return np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]], np.float32)
        scale = side_px / wanted
        offset = (side_px - 1) / 2 - middle * scale
        return np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)

    def prepare(self, name: str, portraits: Sequence[tuple[Picture, Face]]) -> MeshIdentity:
        """Makes an identity of portraits (uint8 (H, W, 3), BGR) and their faces (with landmarks).

        Raises:
            EngineError: `engine.landmarks_missing` when the analyser gave no dense landmarks.
        """
        texture = build_atlas([(picture, _landmarks(face)) for picture, face in portraits])
        cover = np.asarray(np.rint(coverage() * 255), np.uint8)
        level = np.dstack([texture, cover])
        levels = [level]
        while level.shape[0] > _LEAST_LEVEL_PX:
            level = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            levels.append(level)
        shape = neutral_shape([_landmarks(face) for _, face in portraits])
        return MeshIdentity(name, tuple(levels), _zones(texture), shape)

    def swap(self, crops: Sequence[TargetCrop], identity: Identity) -> list[SwappedCrop]:
        """Swaps each crop; see `Swapper`.

        Raises:
            EngineError: `engine.identity_mismatch` for an identity of another swapper, `engine.landmarks_missing`.
        """
        if not isinstance(identity, MeshIdentity):
            raise EngineError(
                "engine.identity_mismatch",
                "The identity was prepared by another engine.",
                "Prepare the source with the engine that does the swap.",
            )
        return [self._swap(crop, identity) for crop in crops]

    def _swap(self, crop: TargetCrop, identity: MeshIdentity) -> SwappedCrop:
        side = crop.pixels.shape[0]
        if crop.landmarks is None:
            raise _no_landmarks()
        mask, pixels = np.zeros((side, side), np.uint8), crop.pixels.copy()
        rectangle = _rectangle(crop.landmarks, side)
        if rectangle is not None:
            own = crop.landmarks - np.array([rectangle.x, rectangle.y, 0], np.float32)
            landmarks = reshaped(own, identity.shape)
            target = np.ascontiguousarray(crop.pixels[rectangle.slices])
            in_front = None if crop.hidden is None else _in_front(crop.hidden, target, own, rectangle.step)
            bent, moved = carried_along(target, own, landmarks, 2 * rectangle.step)
            lit, shown = _drawn(bent, landmarks, rectangle.step, identity, in_front)
            swapped, pasted = _over(lit, shown, bent, moved), np.asarray(cv2.max(shown, moved), np.uint8)
            if in_front is not None:  # a hand is not bent either
                bare = cv2.resize(1 - in_front, (rectangle.width, rectangle.height))
                pasted = np.asarray(cv2.multiply(pasted, bare, dtype=cv2.CV_8U), np.uint8)
                swapped = np.asarray(cv2.copyTo(swapped, pasted, target.copy()), np.uint8)
            pixels[rectangle.slices] = swapped
            mask[rectangle.slices] = pasted
        return SwappedCrop(pixels, mask)


@dataclass(frozen=True, slots=True)
class _Rectangle:
    """The part of a crop that the mesh covers, and how many pixels make one of the grid that the mesh is drawn on.

    Width and height are multiples of twice the step.
    """

    x: int
    y: int
    width: int
    height: int
    step: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns in the crop."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def _rectangle(landmarks: Floats, side: int) -> _Rectangle | None:
    """Around the landmarks, inside the crop's border; None when too little of the face is inside."""
    low = np.floor(landmarks[:, :2].min(0)).astype(int).clip(_BORDER_PX, side - _BORDER_PX)
    high = np.ceil(landmarks[:, :2].max(0) + 1).astype(int).clip(_BORDER_PX, side - _BORDER_PX)
    longest = int((high - low).max())
    step = 1 if longest <= _GRID_PX else max(2, round(longest / (0.75 * _GRID_PX)))
    width, height = ((high - low) // (2 * step) * 2 * step).tolist()
    if min(width, height) < _LEAST_RECTANGLE_PX:
        return None
    # What does not fill a whole cell is left out evenly on both sides, where the mesh is not shown anyway.
    x, y = (low + (high - low - (width, height)) // 2).tolist()
    return _Rectangle(x, y, width, height, step)


def _drawn(
    target: Picture, landmarks: Floats, step: int, identity: MeshIdentity, in_front: Floats | None
) -> tuple[Picture, NDArray[np.uint8]]:
    """The source in the target's place, colour and light, and how much of it shows: uint8 (h, w, 3) and (h, w).

    What is `in_front` (float32, on the grid, 0 to 1) is not compared with the source; None where nothing is.

    Three sizes are used: places in the atlas are drawn on a grid of a `step`-th and interpolated from there; colour
    and light are compared at half of that; only looking up the texture and laying it over works on every pixel.
    """
    height, width = target.shape[:2]
    full, grid, coarse = (width, height), (width // step, height // step), (width // step // 2, height // step // 2)
    on_grid = np.column_stack([(landmarks[:, :2] + 0.5) / step - 0.5, landmarks[:, 2] / step]).astype(np.float32)
    # Places off the mesh are anywhere inside the atlas: looking beyond its border is slow.
    drawn, covered = draw_mesh(on_grid, _values(landmarks), grid, closed_triangles(), background=0.5)
    u, v, cosine = cv2.split(drawn)
    places = np.asarray(cv2.merge([u, v]), np.float32)
    facing_us = np.asarray(cosine * covered, np.float32)
    seen = _smoothstep(0.0, _STEEP, facing_us)
    within = cv2.erode(covered.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)  # no texture beyond the mesh

    theirs = np.asarray(cv2.resize(target, coarse, interpolation=cv2.INTER_AREA), np.uint8)
    at = np.asarray(cv2.resize(places, coarse, interpolation=cv2.INTER_AREA), np.float32)
    frontal = np.asarray(cv2.resize(facing_us, coarse, interpolation=cv2.INTER_AREA), np.float32)
    shown = np.asarray(cv2.resize(seen * within, coarse, interpolation=cv2.INTER_AREA), np.float32)
    ours, cover = _looked_up(_level(identity, coarse[1]), at)
    shown = shown * cover * np.float32(1 / 255)
    zones = cv2.remap(identity.zones, at * np.float32(ATLAS_PX), _BOTH_IN_ONE, cv2.INTER_NEAREST)
    forehead, feature, own = (np.asarray(zone, np.float32) for zone in cv2.split(zones * np.float32(1 / 255)))
    bare = shown * (1 - feature)
    strange = off_skin(theirs, bare * (1 - forehead))
    skin = share_within(strange, SKIN)
    face = share_within(strange, FACE)
    turned = 1 - _smoothstep(_STEEP, _OBLIQUE, frontal)
    # Hair in front of the forehead; what is seen behind a profile that the mesh overshoots.
    others = np.maximum((1 - skin) * forehead, (1 - face) * turned * (1 - feature))
    stays = (cv2.GaussianBlur(others, (0, 0), 0.8) * np.float32(1.2)).clip(0, 1)
    light_from = face * (1 - stays)
    if in_front is not None:
        unhidden = 1 - cv2.resize(in_front, coarse, interpolation=cv2.INTER_AREA)
        skin, light_from = np.asarray(skin * unhidden, np.float32), light_from * unhidden
    weight = np.asarray(bare * skin * own, np.float32)
    matrix, offset = colour_transfer(ours, theirs, weight)
    bright = skin_brightness(ours, weight)
    takes = taking(ours, bright)
    matched = recoloured(ours, matrix, offset, takes)
    face_width = float(np.ptp(landmarks[:, 0])) * coarse[0] / width
    light = light_over(matched, theirs, np.asarray(bare * light_from * own, np.float32), face_width, takes)

    rendered, cover = _looked_up(_level(identity, _extent(landmarks)), np.asarray(cv2.resize(places, full), np.float32))
    added = np.asarray(cv2.resize(light + offset, full), np.float32)
    coloured = recoloured(rendered, matrix, added, taking(rendered, bright))
    lit = cv2.LUT(np.asarray(coloured.clip(0, 255), np.uint8), highlights(theirs, weight))
    share = np.asarray(cv2.resize(stays, grid), np.float32)
    share = np.asarray(seen * within * (1 - share) * np.float32(255), np.uint8)
    mask = cv2.multiply(cover, cv2.resize(share, full), scale=1 / 255)
    mask[:1] = mask[-1:] = 0
    mask[:, :1] = mask[:, -1:] = 0
    return np.asarray(lit, np.uint8), np.asarray(mask, np.uint8)


def _in_front(hidden: NDArray[np.uint8], target: Picture, landmarks: Floats, step: int) -> Floats:
    """Where something is in front of the face: float32 on the grid, 0 to 1, with the picture's own edges.

    Args:
        hidden: see `TargetCrop`.
        target: uint8 (h, w, 3), the target as it is.
        landmarks: float32 (468, 3), its own, in its pixels.
        step: pixels from one point of the grid to the next.
    """
    height, width = target.shape[:2]
    grid, coarse = (width // step, height // step), (width // step // 2, height // step // 2)
    cells = np.column_stack([(landmarks[:, :2] + 0.5) / (2 * step) - 0.5, landmarks[:, 2] / (2 * step)])
    drawn, covered = draw_mesh(cells.astype(np.float32), _values(landmarks), coarse, closed_triangles(), background=0.5)
    texels = np.ascontiguousarray(drawn[..., :2]) * np.float32(hidden.shape[0]) - np.float32(0.5)
    found = cv2.remap(hidden, texels, _BOTH_IN_ONE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = np.asarray(found * (covered * np.float32(1 / 255)), np.float32)
    # Beyond the outline what was found goes on a little: the filter looks there too.
    on_mesh = cv2.blur(covered.astype(np.float32), (7, 7))
    share += ~covered * cv2.blur(share, (7, 7)) / np.maximum(on_mesh, np.float32(0.02))
    luma = np.asarray(cv2.cvtColor(target, cv2.COLOR_BGR2GRAY), np.uint8)
    small, fine = (
        np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8) for size in (coarse, grid)
    )
    return refined(share, small, fine)


def _over(lit: Picture, shown: NDArray[np.uint8], target: Picture, moved: NDArray[np.uint8]) -> Picture:
    """What is pasted with the larger of both masks: the swap over the bent target by as much as it shows.

    Where nothing moved, the mask itself is what shows, and the swap alone is pasted.
    """
    share = np.asarray(shown, np.float32) / np.maximum(cv2.max(shown, moved), 1)
    return np.asarray(cv2.blendLinear(lit, target, share, 1 - share), np.uint8)


def _looked_up(level: NDArray[np.uint8], places: Floats) -> tuple[Picture, NDArray[np.uint8]]:
    """Texture and coverage at `places` (float32 (h, w, 2), 0 to 1 across the atlas): uint8 (h, w, 3) and (h, w)."""
    texels = places * np.float32(level.shape[0]) - np.float32(0.5)
    found = cv2.remap(level, texels, _BOTH_IN_ONE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGRA2BGR), np.uint8), np.asarray(
        cv2.extractChannel(found, 3), np.uint8
    )


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
    """The longer side of the face's rectangle, in pixels."""
    return float(np.ptp(landmarks[:, :2], axis=0).max())


def _landmarks(face: Face) -> Floats:
    if face.landmarks is None:
        raise _no_landmarks()
    return face.landmarks


def _no_landmarks() -> EngineError:
    return EngineError(
        "engine.landmarks_missing",
        "The mesh engine needs dense landmarks, but the analyser does not provide any.",
        "Use the embedded analyser with the mesh engine.",
    )


def _smoothstep(low: float, high: float, value: Floats) -> Floats:
    share = ((value - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
