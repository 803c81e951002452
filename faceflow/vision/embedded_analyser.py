"""The analyser that needs no downloads: BlazeFace finds, the face mesh refines and confirms.

`EmbeddedAnalyser` looks at one picture by itself. `EmbeddedTracker` goes through consecutive frames: it looks for faces
at cuts, on every 15th frame number and when a face was lost, and otherwise looks where the face was a frame ago (one
small network instead of a dozen). Where the scan of the target has told what to expect, it does not search the frame
for small faces again, but looks where they are expected, also between those frames for faces that are just coming in.

Frame numbers, not counts since the start, decide when to look, and what is found replaces what was followed: segments
that share such a frame follow the same faces from there on, to the bit. With a context of `DETECT_EVERY` frames and the
smoothing's radius, no frame depends on where a segment begins.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.face_detector import Detection, detect, detect_large, overlap
from faceflow.vision.face_landmarker import (
    LEAST_PRESENCE,
    Region,
    face_of,
    landmarks_in,
    region_around,
    region_of_face,
)
from faceflow.vision.shapes import Expected, Face, FrameView, Picture, Sight
from faceflow.vision.view import PictureView

OVERVIEW_PX = 1280
"""Long side of the picture in which a single look searches faces."""
TRACK_OVERVIEW_PX = 960
"""The same for frames of a video, where every face that counts is also seen in later frames."""
LARGE_OVERVIEW_PX = 384
"""The same where it is known what to expect, so that only large faces that come as a surprise are searched."""
DETECT_EVERY = 15
"""Frames between two detections in a running shot."""
EXPECT_EVERY = 5
"""Frames between two looks for expected faces that are not followed yet, because they are just coming in."""
_LEAST_SCORE = 0.5
_SAME_FACE = 0.4
_FEWEST_PX = 8.0


class EmbeddedAnalyser:
    """BlazeFace and the 468-point face mesh; knows no embeddings. Safe to share between threads."""

    name = "embedded"
    version = "3"

    def analyse(self, picture: Picture) -> list[Face]:
        """Faces of `picture` (uint8 (H, W, 3), BGR, any size from 1 pixel), the largest first."""
        return self.look(PictureView(picture), OVERVIEW_PX)

    def look(self, view: FrameView, overview_px: int = OVERVIEW_PX, turn: int | None = None) -> list[Face]:
        """Faces of a view, in its full-frame pixels, the largest first; `turn` as in `detect`."""
        picture, scale = view.overview(overview_px)
        faces = []
        for detection in detect(picture, _LEAST_SCORE, turn):
            face = _refined(view, detection, scale)
            if face is not None:
                faces.append(face)
        return _distinct(faces)

    def follow(self, view: FrameView, face: Face) -> Face | None:
        """The face that was at the place of `face` a moment ago, in full-frame pixels; None if there is none now."""
        return _followed(view, face)

    def tracker(self, cuts: Collection[int], first: int, expected: Expected | None = None) -> EmbeddedTracker:
        """A tracker for consecutive frames.

        Args:
            cuts: frame numbers that begin a shot.
            first: number of the first frame that will be given.
            expected: where faces of a frame are expected, so that they need not be searched for; None if nothing is
                known.
        """
        return EmbeddedTracker(self, cuts, first, expected)


class EmbeddedTracker:
    """Follows faces through consecutive frames. One per segment; not shared between threads."""

    def __init__(
        self, analyser: EmbeddedAnalyser, cuts: Collection[int], first: int, expected: Expected | None = None
    ) -> None:
        self._analyser = analyser
        self._cuts = frozenset(cuts)
        self._number = first
        self._expected = expected
        self._last: list[Face] = []
        self._look_again = True

    def track(self, view: FrameView) -> list[Face]:
        """Faces of the next frame, in full-frame pixels; the order carries no identity."""
        number = self._number
        self._number += 1
        cut = number in self._cuts
        followed = [] if cut else [face for last in self._last if (face := _followed(view, last)) is not None]
        lost = not cut and len(followed) < len(self._last)
        if cut or lost or self._look_again or number % DETECT_EVERY == 0:
            # What is found goes before what was followed: it depends on this frame alone, so from here on every
            # segment that reads this frame sees the same, whatever it saw before.
            followed = _distinct([*self._found(view, number), *followed], keep_order=True)
        elif number % EXPECT_EVERY == 0:
            followed = _distinct([*followed, *self._at_expected(view, number, followed)], keep_order=True)
        else:
            followed = _distinct(followed, keep_order=True)
        self._last = followed
        self._look_again = False
        return list(followed)

    def _found(self, view: FrameView, number: int) -> list[Face]:
        if self._expected is None:
            return self._analyser.look(view, TRACK_OVERVIEW_PX)
        picture, scale = view.overview(LARGE_OVERVIEW_PX)
        seen = [_refined(view, detection, scale) for detection in detect_large(picture, _LEAST_SCORE)]
        large = _distinct([face for face in seen if face is not None])
        return [*large, *self._at_expected(view, number, large)]

    def _at_expected(self, view: FrameView, number: int, known: Sequence[Face]) -> list[Face]:
        """Faces where the scan saw some around this time, without the known ones."""
        boxes = [] if self._expected is None else self._expected(number)
        missing = [box for box in boxes if all(overlap(box, face.box) < _SAME_FACE for face in known)]
        return [face for box in missing if (face := _refined_in(view, box)) is not None]


def _refined(view: FrameView, detection: Detection, scale: float) -> Face | None:
    """Landmarks for a detection: once through its rough box, once more through the window that tracking would use."""
    corners = (detection.box.reshape(2, 2) + 0.5) / np.float32(scale) - 0.5
    points = (detection.points + 0.5) / np.float32(scale) - 0.5
    return _twice_refined(view, region_around(corners, points[0], points[1]))


def _refined_in(view: FrameView, box: NDArray[np.float32]) -> Face | None:
    """The same for a box (float32 (4,), frame pixels) of which only the place is known, not the roll."""
    left, right = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    return _twice_refined(view, region_around(box.reshape(2, 2), left, right))


def _twice_refined(view: FrameView, region: Region) -> Face | None:
    landmarks, presence, _ = landmarks_in(view, region)
    if presence < LEAST_PRESENCE:
        return None
    return _plausible(view, *landmarks_in(view, region_of_face(landmarks)))


def _followed(view: FrameView, last: Face) -> Face | None:
    assert last.landmarks is not None  # noqa: S101 (every face of this analyser has them)
    return _plausible(view, *landmarks_in(view, region_of_face(last.landmarks)))


def _plausible(view: FrameView, landmarks: NDArray[np.float32], presence: float, sight: Sight) -> Face | None:
    """The face, unless the network is unsure, or the mesh collapsed or left the frame."""
    if presence < LEAST_PRESENCE or not np.isfinite(landmarks).all():
        return None
    face = face_of(landmarks, presence, sight)
    width, height = view.size
    middle = (face.box[:2] + face.box[2:]) / 2
    inside = 0 <= middle[0] < width and 0 <= middle[1] < height
    return face if inside and face.height_px >= _FEWEST_PX else None


def _distinct(faces: list[Face], keep_order: bool = False) -> list[Face]:
    """Without the faces that overlap one before them; the largest first unless the order is kept."""
    kept: list[Face] = []
    ordered = faces if keep_order else sorted(faces, key=lambda face: (-face.height_px, *face.box.tolist()))
    for face in ordered:
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept
