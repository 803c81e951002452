"""ArcFace (w600k_r50 of buffalo_l) as what tells people apart: the embedding that swappers take, at length 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Template
from faceflow.vision.neural.alignment import aligned
from faceflow.vision.neural.embedding import ARCFACE_PX, ArcFace, unit
from faceflow.vision.neural.loading import load
from faceflow.vision.shapes import Face, FrameView

ARCFACE_MODEL = "w600k_r50"


class ArcFaceRecogniser:
    """Embeds faces. Safe to share between threads.

    Raises:
        As `loading.load`.
    """

    name = "arcface"
    same_person = 1.1
    """Euclidean distance of two embeddings of length 1 below which they are one person: a cosine of 0.4. InsightFace's
    own examples take 0.28 to 0.5; strangers lie about 0."""

    def __init__(self, settings: SwapSettings) -> None:
        loaded = load(ARCFACE_MODEL, settings)
        self._network = ArcFace(loaded)
        self.version = loaded.sha256[:12]

    def embed(self, view: FrameView, face: Face) -> NDArray[np.float32]:
        """float32 (512,), length 1, of a face in a view, whose coordinates `face` has."""
        crop = view.patch(aligned(face.points, Template.ARCFACE_112_V2, ARCFACE_PX), ARCFACE_PX)
        return unit(self._network.embed([crop])[0])
