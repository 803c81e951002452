"""How a face moved from one frame to the next, told by what is seen of it.

The network that finds landmarks trembles: a pixel of noise, a new guess in every frame. The picture itself says much
more exactly how the head moved. `moved` follows points of the skin that speech leaves alone (Lucas and Kanade 1981, in
pyramids) between the two windows that the landmarks were read from anyway, and fits a turn, a scale and a shift to
them; points that went another way (a hand, a blink) lose their say. Landmarks of the frames around can then be carried
to where the head is now, and their mean is calm without being late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_landmarker import LEFT_EYE, RIGHT_EYE
from faceflow.vision.mesh_topology import BROWS, INNER_LIPS, OUTER_LIPS, OVAL, frontal
from faceflow.vision.shapes import Face, Sight

_SPACING, _CLEAR_OF = 0.08, 0.03
"""Face heights between followed points, and from them to the nearest point of eyes, lips, brows or outline."""
_WINDOW_PX, _LEVELS = 21, 2
_ROUNDS = 4
_LEAST_POINTS = 8
_DOUBT = 1.5
"""Deviations (of the median point, at least 0.05 pixels) at which a point's say has fallen to half."""
_LARGEST_ERROR_PX = 3.0
"""Median distance from the fit, in window pixels, above which nothing is told."""


@dataclass(frozen=True, slots=True)
class Motion:
    """A similarity of the plane: point (complex, x + iy) -> `turn` * point + `shift`, in frame pixels."""

    turn: complex
    shift: complex

    def after(self, first: Motion) -> Motion:
        """`first`, then this one."""
        return Motion(self.turn * first.turn, self.turn * first.shift + self.shift)

    @property
    def back(self) -> Motion:
        """The way back."""
        return Motion(1 / self.turn, -self.shift / self.turn)


STILL = Motion(1 + 0j, 0j)


def carried(stack: NDArray[np.float32], motions: Sequence[Motion]) -> NDArray[np.float32]:
    """Landmarks, float32 (K, N, 2 or 3), each set where its motion takes it (K motions)."""
    turns, shifts = (np.array([getattr(one, name) for one in motions])[:, None] for name in ("turn", "shift"))
    flat = turns * (stack[..., 0] + 1j * stack[..., 1]) + shifts
    columns = [flat.real, flat.imag, *(stack[..., axis] * np.abs(turns) for axis in range(2, stack.shape[2]))]
    return np.stack(columns, axis=2).astype(np.float32)


def moved(before: Face, after: Face) -> Motion | None:
    """The motion from `before` to `after`, the same face in two consecutive frames; None where the picture cannot tell.

    Args:
        before: a face with landmarks and the window they were read from.
        after: the same one frame later.
    """
    if before.sight is None or after.sight is None or before.landmarks is None:
        return None
    first, second = before.sight, after.sight
    placed = _placed(before.landmarks[_followed()], first)
    # The windows differ a little: without motion, a point is where the second window sees the same place.
    expected = _placed(before.landmarks[_followed()], second)
    found, seen, _ = cv2.calcOpticalFlowPyrLK(
        first.pixels,
        second.pixels,
        placed[:, None],
        expected[:, None].copy(),
        winSize=(_WINDOW_PX, _WINDOW_PX),
        maxLevel=_LEVELS,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    valid = np.asarray(seen[:, 0] > 0)
    if int(valid.sum()) < _LEAST_POINTS:
        return None
    # Both sets in frame pixels, as complex numbers.
    start = _in_frame(placed[valid], first)
    end = _in_frame(np.asarray(found[:, 0][valid], np.float32), second)
    scale = float(np.sqrt(abs(np.linalg.det(second.matrix[:, :2].astype(np.float64)))))
    say = np.ones(len(start))
    for _ in range(_ROUNDS):
        total = say.sum()
        middle, middle_after = (say * start).sum() / total, (say * end).sum() / total
        arms, arms_after = start - middle, end - middle_after
        turn = complex((say * arms_after * arms.conj()).sum() / (say * np.abs(arms) ** 2).sum())
        error = np.abs(arms_after - turn * arms) * scale
        typical = float(np.median(error)) + 0.05
        say = 1 / (1 + np.square(error / (_DOUBT * typical)))
    if typical > _LARGEST_ERROR_PX:
        return None
    return Motion(turn, complex(middle_after - turn * middle))


def _placed(landmarks: NDArray[np.float32], sight: Sight) -> NDArray[np.float32]:
    """float32 (N, 2), in pixels of the window."""
    return np.asarray(landmarks[:, :2] @ sight.matrix[:, :2].T + sight.matrix[:, 2], np.float32)


def _in_frame(points: NDArray[np.float32], sight: Sight) -> NDArray[np.complex128]:
    inverse = np.linalg.inv(sight.matrix[:, :2].astype(np.float64))
    flat = (points - sight.matrix[:, 2]).astype(np.float64) @ inverse.T
    return np.asarray(flat[:, 0] + 1j * flat[:, 1])


@lru_cache(maxsize=1)
def _followed() -> NDArray[np.int64]:
    """Numbers of the points that are followed: spread over the skin, away from what moves by itself."""
    flat = frontal()[:, :2].astype(np.float64)
    lively = flat[[*LEFT_EYE, *RIGHT_EYE, *INNER_LIPS, *OUTER_LIPS, *BROWS, *OVAL]]
    chosen: list[int] = []
    for number, place in enumerate(flat):
        clear = float(np.linalg.norm(lively - place, axis=1).min()) > _CLEAR_OF
        spread = all(float(np.linalg.norm(flat[other] - place)) > _SPACING for other in chosen)
        if clear and spread:
            chosen.append(number)
    return np.array(chosen, np.int64)
