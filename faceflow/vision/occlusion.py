"""What is in front of the target's face: a hand, a microphone, hair that falls into it.

A hand has the colour of the face, so colour cannot tell. But the clip shows the same face at other times: its
`Reference` says how each texel of the flattened face looks, how it changes with expression and light (a few modes), and
how far it strays from that (a spread). Each frame's face is explained as well as the reference can, in the light of the
moment, from the part of it that fits (re-weighted least squares); `unlike` is what is left, in spreads. A finger
leaves its outline and its shading; a smile or a frown leaves nothing, when the clip shows it more than once.

`hidden` looks at `unlike` over a few frames around one, keeps what is clearly different over some area and what hangs
together with it, and closes gaps that are narrower than a finger. It depends on those frames alone. `refined` then
moves the border to the edges of the picture (guided filter, He et al. 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.unwrapping import OWN_PX, FlatFace, own_coverage, own_face

Floats = NDArray[np.float32]

UNIT = 40.0
"""Codes of an 8-bit `unlike` map for one spread; 255 codes are all that is told apart."""
_LARGEST = 6.0
_LIGHT_PX = 16
"""Side of the picture in which the light of the moment is estimated."""
_LIGHT_SIGMA, _WIDE_SIGMA, _WIDE_SHARE = 2.0, 6.0, 0.05
"""Its blur there, and a wider one that fills in where nothing fits."""
_ROUNDS = 3
_WORN = 3.5
"""Spreads that a rim of glasses counts, which the reference itself shows."""
_DOUBT = 2.0
"""Spreads at which a texel's weight has fallen to a quarter."""
_OUT = (1.2, 2.2)
"""Spreads from which and beyond which a texel has no say in the last round."""
_POOL = 1.0
"""Sigma, in texels, over which differences are pooled."""
_NOTHING = 1.6
"""Spreads; where nothing is further off after the first round, there is nothing to look for."""
_RIDGE = 0.05
_TIME_SIGMA = 1.5
"""Frames."""
REACH = 3
"""Frames on either side that decide about one."""
_LOW, _HIGH = 1.2, 2.1
"""Spreads at which a texel begins to be hidden, and at which it surely is."""
_CLEAR = 2.2
"""Spreads of what can only be something in front of the face,"""
_SOON = 1.5
"""or, averaged over the frames around, of what is clear in one of them,"""
_CLEAR_TEXELS = 11
"""and how many texels of it make a patch count."""
_PATCH_SIGMA, _PATCH_GAIN = 2.5, 1.7
"""Texels that make a patch, and what its mean counts: a hand is unlike the face all over, noise only here and there."""
_PATCH_MOST = 1.5
"""Spreads that one texel can give to its patch, so that a thin line does not spread."""
_FAINT = 1.3
"""Spreads; a frame whose every texel is nearer, and its neighbours', needs no further look."""
_NEARBY = 0.75
"""Factor to the limits close to what is clear, in this frame or around it."""
_GAP_PX, _NEAR_PX = 4, 4
_WINDOW_PX, _EVEN = 3, 6.0
"""Radius of the guided filter's window, and the luma codes below which a difference is no edge."""
_SHARPER = 0.15
_ALL_OF_IT = (0.75, 0.95)
"""Share of the face beyond which not the face is hidden but the reference is wrong (a lamp goes out)."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """How one face looks in one shot.

    Attributes:
        mean: float32 (64, 64, 3), 8-bit Lab codes.
        spread: float32 (64, 64, 3), one deviation, in the same codes.
        modes: float32 (K, 64, 64), changes of brightness by expression and light; K may be 0.
        worn: uint8 (64, 64), 255 on what is part of the mean and not of the face (see `glasses`).
    """

    mean: Floats
    spread: Floats
    modes: Floats
    worn: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((OWN_PX, OWN_PX), np.uint8))
    _sure: Floats = field(init=False, repr=False)
    _scaled: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sure = np.asarray(1 / self.spread, np.float32)
        object.__setattr__(self, "_sure", sure)
        object.__setattr__(self, "_scaled", (self.modes * sure[..., 0]).reshape(len(self.modes), OWN_PX * OWN_PX))

    def explain(self, lab: Floats, seen: Floats, rounds: int = _ROUNDS) -> tuple[Floats, Floats, Floats]:
        """Explains a face as well as the reference can.

        Args:
            lab: float32 (64, 64, 3), 8-bit Lab codes.
            seen: float32 (64, 64), weight of each texel, 0 to 1.
            rounds: how often texels that do not fit lose weight.

        Returns:
            What is left (float32 (64, 64, 3), Lab codes), what the modes explain (float32 (64, 64)) and how unlike the
            face each texel is (float32 (64, 64), spreads, pooled over neighbours, at most 6).
        """
        count = len(self.modes)
        pooled = cv2.GaussianBlur(seen, (0, 0), _POOL) + np.float32(0.05)
        away = lab - self.mean
        weight = seen
        moved: Floats = np.zeros(seen.shape, np.float32)
        left, far = away, moved
        for turn in range(rounds):
            left = away - _light(away, weight)
            if count:
                weighted = self._scaled * weight.reshape(-1)
                wanted = (left[..., 0] * self._sure[..., 0]).reshape(-1)
                shares = np.linalg.solve(
                    weighted @ self._scaled.T + np.float32(_RIDGE) * np.eye(count, dtype=np.float32), weighted @ wanted
                )
                moved = np.asarray((shares @ self.modes.reshape(count, -1)).reshape(seen.shape), np.float32)
                left[..., 0] -= moved
            squares = np.square(left * self._sure)
            distance = np.sqrt((squares[..., 0] + squares[..., 1] + squares[..., 2]) * np.float32(1 / 3))
            far = np.asarray(cv2.GaussianBlur(np.minimum(distance, _LARGEST) * seen, (0, 0), _POOL) / pooled)
            if turn == 0 and float(far.max()) < _NOTHING:
                break
            if turn < rounds - 2:
                weight = seen / np.square(1 + np.square(far * np.float32(1 / _DOUBT)))
            else:
                weight = seen * (np.float32(1.001) - smoothstep(*_OUT, far))
        return left, moved, far


def unlike(face: FlatFace, reference: Reference) -> NDArray[np.uint8]:
    """How unlike the target's own face each texel is: uint8 (64, 64), `UNIT` codes a spread."""
    lab, seen = face.lab.astype(np.float32), face.seen.astype(np.float32) * np.float32(1 / 255)
    far = np.asarray(np.rint(reference.explain(lab, seen)[2] * np.float32(UNIT)), np.uint8)
    return np.maximum(far, worn_as_unlike(reference.worn))


def worn_as_unlike(worn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is worn, as clearly `unlike` the face: uint8 (64, 64)."""
    return np.asarray(cv2.convertScaleAbs(worn, alpha=_WORN * UNIT / 255), np.uint8)


def hidden(around: Sequence[tuple[int, NDArray[np.uint8]]]) -> NDArray[np.uint8] | None:
    """Where something is in front of the face.

    Args:
        around: distance in frames and `unlike` map (uint8 (64, 64)) of frames around it, itself (0) among them or not.

    Returns:
        uint8 (64, 64), 255 where the target must stay; None where it need not stay anywhere, which is nearly always.
    """
    near = [(offset, found) for offset, found in around if abs(offset) <= REACH]
    if not near or not any((found > _FAINT * UNIT).any() for _, found in near):
        return None
    weights = np.exp(-np.square([offset for offset, _ in near]) / (2 * _TIME_SIGMA**2)).astype(np.float32)
    stack = np.stack([found for _, found in near]).astype(np.float32)
    weights /= weights.sum() * np.float32(UNIT)
    far = _steady(np.asarray((weights[:, None, None] * stack).sum(axis=0), np.float32))
    ever = (np.maximum(stack.max(axis=0) * np.float32(1 / UNIT), far) > _CLEAR) & (_inside() > 0)
    strong = ever & (far > _SOON)
    close = cv2.dilate(ever.view(np.uint8), _disc(_NEAR_PX)).astype(np.float32)
    share = smoothstep(_LOW, _HIGH, far / (1 - np.float32(1 - _NEARBY) * close))
    share = np.asarray(cv2.morphologyEx(share, cv2.MORPH_CLOSE, _disc(_GAP_PX)) * _inside(), np.float32)
    count, patches = cv2.connectedComponents((share > 0.4).astype(np.uint8))
    kept = np.bincount(patches[strong], minlength=count) >= _CLEAR_TEXELS
    kept[0] = False
    if not kept.any():
        return None
    share *= cv2.dilate(kept[patches].astype(np.uint8), _disc(1))
    share = np.asarray(cv2.GaussianBlur(share, (0, 0), 0.67), np.float32)
    whole = float((share * own_coverage()).sum() / own_coverage().sum())
    share *= 1 - smoothstep(*_ALL_OF_IT, np.float32(whole))
    return np.asarray(np.rint(share * 255), np.uint8)


def refined(share: Floats, coarse: NDArray[np.uint8], fine: NDArray[np.uint8]) -> Floats:
    """`share` with its border moved to the edges of the picture, at a higher resolution.

    Args:
        share: float32 (h, w), 0 to 1.
        coarse: uint8 (h, w), luma of the target at the same places.
        fine: uint8 (H, W), luma of the same part of the target.

    Returns:
        float32 (H, W), 0 to 1.
    """
    window = (2 * _WINDOW_PX + 1,) * 2
    guide = coarse.astype(np.float32)
    middle, filled = cv2.blur(guide, window), cv2.blur(share, window)
    together = cv2.blur(guide * share, window) - middle * filled
    power = cv2.blur(guide * guide, window) - middle * middle
    slope = np.asarray(together / (power + np.float32(_EVEN * _EVEN)), np.float32)
    level = cv2.blur(np.asarray(filled - slope * middle, np.float32), window)
    slope = np.asarray(cv2.blur(slope, window), np.float32)
    size = (fine.shape[1], fine.shape[0])
    result = cv2.resize(slope, size) * fine + cv2.resize(level, size)
    return smoothstep(_SHARPER, 1 - _SHARPER, np.asarray(result, np.float32))


def smoothstep(low: float, high: float, value: Floats | np.float32) -> Floats:
    """float32, 0 up to `low`, 1 from `high` on, smooth in between."""
    share = ((value - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _steady(far: Floats) -> Floats:
    """Spreads, where a patch that is a little unlike everywhere counts as much as a spot that is very unlike."""
    around = cv2.GaussianBlur(np.minimum(far, _PATCH_MOST) * own_face(), (0, 0), _PATCH_SIGMA) / _around()
    return np.asarray(np.maximum(far, around * np.float32(_PATCH_GAIN)), np.float32)


@lru_cache(maxsize=1)
def _around() -> Floats:
    return np.asarray(cv2.GaussianBlur(own_face(), (0, 0), _PATCH_SIGMA) + np.float32(0.1), np.float32)


def _light(away: Floats, weight: Floats) -> Floats:
    """Low-frequency part of `away`: float32 (64, 64, 3). Normalised convolution (Knutsson and Westin 1993)."""
    both = np.empty((OWN_PX, OWN_PX, 4), np.float32)
    np.multiply(away, weight[..., None], out=both[..., :3])
    both[..., 3] = weight
    both = np.asarray(cv2.resize(both, (_LIGHT_PX, _LIGHT_PX), interpolation=cv2.INTER_AREA), np.float32)
    wide = cv2.GaussianBlur(both, (0, 0), _WIDE_SIGMA) * np.float32(_WIDE_SHARE)
    both = np.asarray(cv2.GaussianBlur(both, (0, 0), _LIGHT_SIGMA) + wide, np.float32)
    light = both[..., :3] / (both[..., 3:] + np.float32(1e-4))
    return np.asarray(cv2.resize(light, (OWN_PX, OWN_PX), interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=4)
def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


@lru_cache(maxsize=1)
def _inside() -> NDArray[np.uint8]:
    """uint8 (64, 64): 1 inside the outline, eyes and mouth included, but for the outermost texel."""
    shown = (own_coverage() > 0).astype(np.uint8)
    whole = cv2.morphologyEx(shown, cv2.MORPH_CLOSE, _disc(5), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(cv2.erode(whole, _disc(1), borderValue=0), np.uint8)
