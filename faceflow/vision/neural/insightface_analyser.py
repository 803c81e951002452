"""InsightFace's analyser (buffalo_l): SCRFD finds faces, 2d106det refines their five points in moving pictures.

`InsightFaceAnalyser` gives for one picture what InsightFace's `FaceAnalysis` gives. `InsightFaceTracker` goes through
consecutive frames: it searches the whole frame at cuts, on every 15th frame number and when a face was lost, and
otherwise looks where each face was a frame ago. As in the embedded tracker, frame numbers decide when to search, and
what is found replaces what was followed, so segments that share such a frame see the same faces from there on.

SCRFD's points tremble more than dense landmarks do, so in a clip the five points are those of 2d106det. Only a tracker
loads it. Faces carry no dense landmarks: the embedded swapper, which needs another mesh, takes the embedded analyser.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.settings import Settings
from faceflow.vision.embedded_analyser import DETECT_EVERY, EXPECT_EVERY, Expected
from faceflow.vision.face_detector import overlap
from faceflow.vision.model import Face, FrameView, Picture
from faceflow.vision.neural.insightface_session import NetworkSession, contract_mismatch, insightface_class
from faceflow.vision.neural.loading import load, models_digest
from faceflow.vision.neural.scrfd import Scrfd, placed_back, window_around
from faceflow.vision.view import PictureView

INSIGHTFACE = "insightface"
TRACKING_MODELS = ("det_10g", "2d106det")
"""What a whole job needs of the catalogue."""
_CODE_VERSION = "1"
_LEAST_EXPECTED = 0.3
"""Score from which a face counts where the scan saw one: a gap in the detections is filled so."""
_SAME_FACE = 0.4
_FEWEST_PX = 8.0
_FIVE_OF_106 = (38, 88, 86, 52, 61)
"""Pupils left and right in the picture, tip of the nose, corners of the mouth, in 2d106det's order."""
_LANDMARKS_PX = 192
_BOX_IN_WINDOW_PX = 128.0
"""InsightFace shows the network one and a half times the box."""


class InsightFaceAnalyser:
    """The detector, and landmarks for trackers. Safe to share between threads.

    Raises:
        EngineError: `engine.package_missing`, `engine.contract_mismatch`.
        ModelError, ModelFileError, EngineError: as `loading.load`.
    """

    name = INSIGHTFACE

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._detector = Scrfd(settings)
        self._guard = threading.Lock()
        self._landmarks: FivePoints | None = None
        self.version = f"{_CODE_VERSION}-{models_digest('det_10g', settings)}"

    def analyse(self, picture: Picture) -> list[Face]:
        """Faces of `picture` (uint8 (H, W, 3), BGR), the largest first."""
        return self.look(PictureView(picture))

    def look(self, view: FrameView, overview_px: int = 0, turn: int | None = None) -> list[Face]:
        """Faces of a view, in its full-frame pixels, the largest first; the network has a size and turns of its own."""
        del overview_px, turn
        return [face for face in self._detector.in_overview(view) if face.height_px >= _FEWEST_PX]

    def follow(self, view: FrameView, face: Face) -> Face | None:
        """The face that was at the place of `face` a moment ago, in full-frame pixels; None if there is none now."""
        return self._detector.at(view, face.box)

    def expected(self, view: FrameView, box: NDArray[np.float32]) -> Face | None:
        """The face that is expected at a place (float32 (4,), frame pixels), even one that is hardly seen."""
        return self._detector.at(view, box, _LEAST_EXPECTED)

    def refined(self, view: FrameView, face: Face) -> Face:
        """The face with steadier points."""
        with self._guard:
            if self._landmarks is None:
                self._landmarks = FivePoints(self._settings)
        return replace(face, points=self._landmarks.of(view, face))

    def tracker(self, cuts: Collection[int], first: int, expected: Expected | None = None) -> InsightFaceTracker:
        """A tracker for consecutive frames; see `EmbeddedAnalyser.tracker`."""
        return InsightFaceTracker(self, cuts, first, expected)


class InsightFaceTracker:
    """Follows faces through consecutive frames. One per segment; not shared between threads."""

    def __init__(
        self, analyser: InsightFaceAnalyser, cuts: Collection[int], first: int, expected: Expected | None
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


class FivePoints:
    """2d106det: (1, 3, 192, 192) -> 106 points, of which five are kept. Safe to share between threads.

    Raises:
        As `InsightFaceAnalyser`.
    """

    def __init__(self, settings: Settings) -> None:
        loaded = load("2d106det", settings)
        session = NetworkSession(loaded.network, settings.engine.provider)
        made = insightface_class("model_zoo.landmark", "Landmark")(model_file=str(loaded.network.path), session=session)
        if made.taskname != "landmark_2d_106" or made.input_size != (_LANDMARKS_PX, _LANDMARKS_PX):
            raise contract_mismatch(loaded, "one of 106 landmarks")
        self._network: Any = made
        self._face = insightface_class("app.common", "Face")

    def of(self, view: FrameView, face: Face) -> NDArray[np.float32]:
        """float32 (5, 2): the five points of a face, in frame pixels."""
        region = window_around(face.box)
        patch = view.patch(region.matrix(_LANDMARKS_PX), _LANDMARKS_PX)
        # The window is what InsightFace would cut around this box: it is shown as it is.
        low, high = (_LANDMARKS_PX - _BOX_IN_WINDOW_PX) / 2, (_LANDMARKS_PX + _BOX_IN_WINDOW_PX) / 2
        shown = self._face(bbox=np.array([low, low, high, high], np.float32))
        points = np.asarray(self._network.get(patch, shown))[list(_FIVE_OF_106)]
        return placed_back(points, region, _LANDMARKS_PX)


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Without the faces that overlap one before them."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept
