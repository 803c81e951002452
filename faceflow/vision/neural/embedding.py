"""Who somebody is, in numbers: ArcFace on aligned portraits, and converters into the spaces of other recognisers.

Swappers were trained with the embedding of one recogniser each. Those trained with ArcFace w600k_r50 take it as it is;
for the others a small network (crossface) converts it. Of several portraits of one person the mean is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceflow.vision.model_catalogue import Template
from faceflow.vision.neural.alignment import portrait_crop
from faceflow.vision.neural.loading import Loaded
from faceflow.vision.neural.pixels import to_tensor
from faceflow.vision.shapes import Face, Picture

Floats = NDArray[np.float32]

ARCFACE_PX = 112
_HALF = (0.5, 0.5, 0.5)
"""ArcFace takes (RGB - 127.5) / 127.5."""


class ArcFace:
    """Embeds faces with a network of the contract `arcface`: (N, 3, 112, 112) -> (N, 512)."""

    def __init__(self, loaded: Loaded) -> None:
        self._network = loaded.network
        self._input = loaded.network.inputs[0].name  # exports name it as they like

    def embed(self, crops: Sequence[Picture]) -> Floats:
        """float32 (N, 512), not normalised, of crops (uint8 (112, 112, 3), BGR) aligned to arcface_112_v2."""
        return self._network.run({self._input: to_tensor(crops, _HALF, _HALF)})[0].reshape(len(crops), -1)

    def of_portraits(self, portraits: Sequence[tuple[Picture, Face]]) -> Floats:
        """float32 (512,): the mean over all portraits of one person, not normalised."""
        crops = [
            portrait_crop(picture, face.points, Template.ARCFACE_112_V2, ARCFACE_PX) for picture, face in portraits
        ]
        # One by one: portraits are few, and their number must not decide on how they are batched.
        return np.asarray(np.mean([self.embed([crop])[0] for crop in crops], axis=0), np.float32)


class Converter:
    """Takes an ArcFace embedding into another recogniser's space: (1, 512) -> (1, 512)."""

    def __init__(self, loaded: Loaded) -> None:
        self._network = loaded.network
        self._input = loaded.network.inputs[0].name

    def convert(self, embedding: Floats) -> Floats:
        """float32 (512,) -> float32 (512,), neither normalised."""
        return self._network.run({self._input: embedding.reshape(1, -1)})[0].reshape(-1)


def unit(embedding: Floats) -> Floats:
    """The embedding at length 1."""
    return np.asarray(embedding / max(1e-12, float(np.linalg.norm(embedding))), np.float32)
