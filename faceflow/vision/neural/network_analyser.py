"""Published networks as an analyser: a detector finds faces, a landmarker refines their five points.

`NetworkAnalyser` gives for one picture what the detector gives; with InsightFace's that is what its `FaceAnalysis`
gives. `NetworkTracker` goes through consecutive frames: it searches the whole frame at cuts, on every 15th frame number
and when a face was lost, and otherwise looks where each face was a frame ago. As in the embedded tracker, frame numbers
decide when to search, and what is found replaces what was followed, so segments that share such a frame see the same
faces from there on.

Faces carry no dense landmarks: the embedded swapper, which needs another mesh, takes the embedded analyser.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceflow.settings import SwapSettings
from faceflow.vision.embedded_analyser import DETECT_EVERY, EXPECT_EVERY
from faceflow.vision.face_detector import overlap
from faceflow.vision.neural.detectors import load_detector
from faceflow.vision.neural.landmarkers import Landmarker, load_landmarker
from faceflow.vision.neural.loading import models_digest
from faceflow.vision.shapes import Expected, Face, FrameView, Picture
from faceflow.vision.view import PictureView

_CODE_VERSION = "2"
_SAME_FACE = 0.4
_FEWEST_PX = 8.0


class NetworkAnalyser:
    """A detector, and a landmarker for those who ask. Safe to share between threads.

    Args:
        name: what jobs call it.
        detector: name of the detector in the catalogue.
        landmarker: name of the landmarker, None to keep the detector's own points. It is loaded when first needed.
        settings: where the networks lie, and how they are run.
        everywhere: whether the landmarker also refines the faces of single pictures, not of clips alone.

    Raises:
        ModelError, ModelFileError, EngineError: as `load_detector`.
    """

    def __init__(
        self, name: str, detector: str, landmarker: str | None, settings: SwapSettings, *, everywhere: bool = False
    ) -> None:
        self.name = name
        self._settings = settings
        self._detector = load_detector(detector, settings)
        self._landmarker_name = landmarker
        self._everywhere = everywhere
        self._guard = threading.Lock()
        self._landmarker: Landmarker | None = None
        self.version = f"{_CODE_VERSION}-{models_digest(detector, settings)}"

    def analyse(self, picture: Picture) -> list[Face]:
        """Faces of `picture` (uint8 (H, W, 3), BGR), the largest first."""
        view = PictureView(picture)
        faces = self.look(view)
        return [self.refined(view, face) for face in faces] if self._everywhere else faces

    def look(self, view: FrameView, overview_px: int = 0, turn: int | None = None) -> list[Face]:
        """Faces of a view, in its full-frame pixels, the largest first; the network has a size and turns of its own."""
        del overview_px, turn
        return [face for face in self._detector.in_overview(view) if face.height_px >= _FEWEST_PX]

    def follow(self, view: FrameView, face: Face) -> Face | None:
        """The face that was at the place of `face` a moment ago, in full-frame pixels; None if there is none now."""
        return self._detector.at(view, face.box)

    def expected(self, view: FrameView, box: NDArray[np.float32]) -> Face | None:
        """The face that is expected at a place (float32 (4,), frame pixels), even one that is hardly seen."""
        return self._detector.at(view, box, self._detector.least_expected)

    def refined(self, view: FrameView, face: Face) -> Face:
        """The face with the landmarker's points, where there is a landmarker and it is sure."""
        if self._landmarker_name is None:
            return face
        with self._guard:
            if self._landmarker is None:
                self._landmarker = load_landmarker(self._landmarker_name, self._settings)
        points = self._landmarker.five_points(view, face)
        return face if points is None else replace(face, points=points)

    def tracker(self, cuts: Collection[int], first: int, expected: Expected | None = None) -> NetworkTracker:
        """A tracker for consecutive frames; see `EmbeddedAnalyser.tracker`."""
        return NetworkTracker(self, cuts, first, expected)


class NetworkTracker:
    """Follows faces through consecutive frames. One per segment; not shared between threads."""

    def __init__(self, analyser: NetworkAnalyser, cuts: Collection[int], first: int, expected: Expected | None) -> None:
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
        last = [] if cut else self._last
        faces = [face for one in last if (face := self._analyser.follow(view, one)) is not None]
        if cut or self._look_again or len(faces) < len(last) or number % DETECT_EVERY == 0:
            faces = _distinct([*self._found(view), *faces])
            faces = _distinct([*faces, *self._at_expected(view, number, faces)])
        elif number % EXPECT_EVERY == 0:
            faces = _distinct([*faces, *self._at_expected(view, number, faces)])
        else:
            faces = _distinct(faces)
        self._last = faces
        self._look_again = False
        return [self._analyser.refined(view, face) for face in faces]

    def _found(self, view: FrameView) -> list[Face]:
        """All faces of the frame, each through the window that following it would use."""
        return [self._analyser.follow(view, face) or face for face in self._analyser.look(view)]

    def _at_expected(self, view: FrameView, number: int, known: Sequence[Face]) -> list[Face]:
        """Faces where the scan saw some around this time, without the known ones."""
        boxes = [] if self._expected is None else self._expected(number)
        missing = [box for box in boxes if all(overlap(box, face.box) < _SAME_FACE for face in known)]
        return [face for box in missing if (face := self._analyser.expected(view, box)) is not None]


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Without the faces that overlap one before them."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept
