"""Landmarks without jitter and without lag: each frame's face is a mean over the frames around it.

Landmarks of single frames tremble by a pixel or so, and a texture that trembles on a face is what gives a swap away.
As a segment is read with context on either side, the mean can look both ways (zero phase). Motion and form are
smoothed apart. For the pose (position, size, roll) the faces around are first carried to the frame by the motion that
the picture shows (`motion`), so that even a shaking camera is followed; what is left to average is the network's noise.
The form (where the points lie within the face) is smoothed as it is, less around eyes and mouth, which blink and speak.

A frame's result depends only on frames at most `radius` away: the Gaussians are cut there. So it is the same in
every segment that reads at least that much context. Nothing is averaged across a cut or across frames in
which the face was not seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_detector import overlap
from faceflow.vision.face_landmarker import LANDMARKS, LEFT_EYE, RIGHT_EYE, face_of
from faceflow.vision.mesh_topology import INNER_LIPS, OUTER_LIPS, frontal
from faceflow.vision.motion import STILL, Motion, carried, moved
from faceflow.vision.occlusion import hidden
from faceflow.vision.shapes import Face

POSE_SIGMA = 2.0
"""Frames; position, size and roll, once the faces around were carried along with the motion that the picture shows."""
UNSEEN_POSE_SIGMA = 0.5
"""The same where the motion is not known. Against optical flow, 0.4 to 0.6 follows a shaking camera best: more
smoothing takes away motion that is real, and the swap swims on the face."""
SHAPE_SIGMA = 2.0
"""Frames; the form of the face at rest."""
LIVELY_SIGMA = 0.8
"""Frames; eyes and mouth, which move fast."""
LARGEST_RADIUS = 5
"""Frames on either side that are looked at, 2.5 times the largest sigma; the rest of a segment's context is for the
tracker to come to the same windows as its neighbour's."""

_SAME_FACE = 0.3
_DISAGREEING = 0.08
"""Distance of two centres, in root mean squares of the points' distance from them (about 0.3 face heights), at which a
face's say in the pose has fallen to half."""
_LIVELY_REACH = 0.06
"""Distance from eyes and lips, in face heights, over which points change from lively to calm."""


@dataclass(slots=True)
class _Seen:
    """Faces of one frame with the run that each belongs to (one face without gap or cut), and how each came there."""

    number: int
    faces: dict[int, Face] = field(default_factory=dict)
    motions: dict[int, Motion | None] = field(default_factory=dict)


class LandmarkSmoother:
    """Takes the faces of consecutive frames and gives them back smoothed, `radius` frames later.

    Args:
        radius: frames looked at on either side; at most the context that segments have, 0 turns smoothing off.
    """

    def __init__(self, radius: int) -> None:
        self.radius = max(0, min(radius, LARGEST_RADIUS))
        self._window: deque[_Seen] = deque(maxlen=2 * self.radius + 1)
        self._next: int | None = None
        self._runs = 0

    def push(self, number: int, faces: list[Face], cut: bool) -> Iterator[tuple[int, list[Face]]]:
        """Adds frame `number`, the one after the last; `cut` says that it begins a shot.

        Yields:
            The number and the smoothed faces of the frame that is now `radius` behind.
        """
        before = self._window[-1] if self._window and not cut else _Seen(-1)
        seen = _Seen(number)
        free = dict(before.faces)
        for face in faces:
            run = max(free, key=lambda key: overlap(free[key].box, face.box), default=None)
            if run is None or overlap(free[run].box, face.box) < _SAME_FACE:
                run = self._runs
                self._runs += 1
            else:
                del free[run]
                seen.motions[run] = moved(before.faces[run], face) if self.radius else None
            seen.faces[run] = face
        if self._next is None:
            self._next = number
        self._window.append(seen)
        if number - self._next >= self.radius:
            yield self._ready()

    def finish(self) -> Iterator[tuple[int, list[Face]]]:
        """Yields the frames that still wait, when no more will come."""
        while self._window and self._next is not None and self._next <= self._window[-1].number:
            yield self._ready()

    def _ready(self) -> tuple[int, list[Face]]:
        assert self._next is not None  # noqa: S101 (set by the first push)
        number = self._next
        self._next += 1
        here = next(seen for seen in self._window if seen.number == number)
        near = [seen for seen in self._window if abs(seen.number - number) <= self.radius]
        result = []
        for run, face in here.faces.items():
            run_faces = [(seen.number - number, seen.faces[run]) for seen in near if run in seen.faces]
            ways = _ways(run_faces, {seen.number - number: seen.motions.get(run) for seen in near})
            if len(ways) > 1:
                result.append(smoothed(face, [pair for pair in run_faces if pair[0] in ways], ways=ways))
            else:
                result.append(smoothed(face, run_faces, UNSEEN_POSE_SIGMA))
        return number, result


def _ways(around: Sequence[tuple[int, Face]], motions: Mapping[int, Motion | None]) -> dict[int, Motion]:
    """How the head moved from each frame around to the one at offset 0, as far as the picture told."""
    ways = {0: STILL}
    nearest, farthest = around[0][0], around[-1][0]
    for offset in range(-1, nearest - 1, -1):
        step = motions[offset + 1]
        if step is None:
            break
        ways[offset] = ways[offset + 1].after(step)
    for offset in range(1, farthest + 1):
        step = motions[offset]
        if step is None:
            break
        ways[offset] = ways[offset - 1].after(step.back)
    return ways


def smoothed(
    face: Face,
    around: list[tuple[int, Face]],
    pose_sigma: float = POSE_SIGMA,
    ways: Mapping[int, Motion] | None = None,
) -> Face:
    """`face` with its points averaged over the faces `around` it.

    Args:
        face: the frame's own face.
        around: distance in frames and face, of the same run, `face` itself (distance 0) among them.
        pose_sigma: frames over which position, size and roll are averaged.
        ways: by distance, the motion that carries a face to where the head is now; None where it is not known.
    """
    differences = [(offset, other.unlike) for offset, other in around if other.unlike is not None]
    if differences:
        face = replace(face, hidden=hidden(differences))
    if len(around) < 2:
        return face
    offsets = np.array([offset for offset, _ in around], np.float64)
    if face.landmarks is None:
        points = _mean_points(face.points, np.stack([other.points for _, other in around]), offsets, pose_sigma)
        return replace(face, points=points)
    stack = np.stack([_dense(other) for _, other in around])
    if ways is not None:
        stack = carried(stack, [ways[offset] for offset, _ in around])
    lively = _lively() if len(face.landmarks) == LANDMARKS else None
    landmarks = _mean_points(face.landmarks, stack, offsets, pose_sigma, lively)
    if len(landmarks) == LANDMARKS:
        calm = face_of(landmarks, face.score)
        return replace(calm, embedding=face.embedding, unlike=face.unlike, hidden=face.hidden)
    return replace(face, landmarks=landmarks)


def _dense(face: Face) -> NDArray[np.float32]:
    assert face.landmarks is not None  # noqa: S101 (an analyser gives them for every face or for none)
    return face.landmarks


def _mean_points(
    own: NDArray[np.float32],
    stack: NDArray[np.float32],
    offsets: NDArray[np.float64],
    pose_sigma: float,
    lively: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Mean of `stack` (K, N, 2 or 3) around `own` (N, 2 or 3): pose and form by their own Gaussians.

    Points are complex numbers, so that the similarity that fits `own` to another frame is one complex factor (scale and
    turn) and one complex centre.
    """
    reference = own[:, 0].astype(np.complex128) + 1j * own[:, 1]
    flat = stack[..., 0].astype(np.complex128) + 1j * stack[..., 1]
    own_centre = reference.mean()
    reference = reference - own_centre
    size = float(np.sqrt((np.abs(reference) ** 2).mean()))
    centres = flat.mean(axis=1)
    around = flat - centres[:, None]
    # Sums instead of matrix products: for so few numbers a threaded product costs more in waiting than in adding.
    turns = (around * reference.conj()).sum(axis=1) / (np.abs(reference) ** 2).sum()
    # A face that was carried to another place than the network sees it in was carried wrongly.
    doubt = np.abs(centres - own_centre) / (_DISAGREEING * size)
    pose = _gaussian(offsets, pose_sigma) / (1 + doubt**4)
    pose = pose / pose.sum()
    turn, centre = (pose * turns).sum(), (pose * centres).sum()
    forms = around / turns[:, None]
    weights = _gaussian(offsets, SHAPE_SIGMA)[:, None]
    if lively is not None:
        weights = weights * (1 - lively) + _gaussian(offsets, LIVELY_SIGMA)[:, None] * lively
    form = (weights * forms).sum(axis=0)
    placed = form * turn + centre
    columns = [placed.real, placed.imag]
    if own.shape[1] == 3:
        depths = stack[..., 2] / np.abs(turns)[:, None]
        columns.append((weights * depths).sum(axis=0) * np.abs(turn))
    return np.stack(columns, axis=1).astype(np.float32)


def _gaussian(offsets: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    weights = np.exp(-np.square(offsets) / (2 * sigma * sigma))
    return np.asarray(weights / weights.sum())


@lru_cache(maxsize=1)
def _lively() -> NDArray[np.float64]:
    """float64 (468,): 1 for the points of eyes and lips, 0 away from them."""
    flat = frontal()[:, :2].astype(np.float64)
    moving = flat[sorted({*LEFT_EYE, *RIGHT_EYE, *INNER_LIPS, *OUTER_LIPS})]
    distance = np.linalg.norm(flat[:, None] - moving[None], axis=2).min(axis=1)
    return np.asarray((1 - distance / _LIVELY_REACH).clip(0, 1))
