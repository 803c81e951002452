"""What all swappers of the catalogue share: crops in, crops out; how a source is prepared is the contract's business.

    crop ─ split into sub-images ─ tensors ─▶ network(source, target) ─▶ pictures ─ joined ─▶ crop
    mask = box, and the network's own where it gives one

A contract is a subclass of `NeuralSwapper` (in `swappers`) with three methods at most. Tensors are found by their names
`source` and `target`, whatever their order in the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError, JobError
from faceflow.job import MaskKind, SwapOptions
from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Contract, ModelEntry, Template
from faceflow.vision.neural.alignment import aligned, portrait_crop
from faceflow.vision.neural.box import box_mask
from faceflow.vision.neural.embedding import ARCFACE_PX, ArcFace, unit
from faceflow.vision.neural.loading import Loaded, models_digest, needed, require_inputs
from faceflow.vision.neural.pixels import Triple, joined, split, to_pictures, to_tensor
from faceflow.vision.shapes import Face, Picture, SwappedCrop, TargetCrop

Floats = NDArray[np.float32]

LARGEST_SIDE_PX = 1024
"""Largest crop that pixel boost makes."""
_ALIKE = (0.35, -0.35)
"""Share of the target's identity that is mixed in at identity weight 0 and at 1; at 0.5 it is none."""
_CODE_VERSION = "1"
"""Raised when this package makes other pictures of the same network."""


@dataclass(frozen=True, slots=True)
class NeuralIdentity:
    """A source as a network takes it.

    Attributes:
        name: the source's name.
        engine: whose it is.
        tensor: float32 (1, ...), the network's `source`.
    """

    name: str
    engine: str
    tensor: Floats = field(repr=False)


class NeuralSwapper(ABC):
    """Base of the swappers. Safe to share between threads.

    Args:
        loaded: the network.
        options: identity weight, pixel boost, box mask.
        settings: where the networks that it needs are, and how they run.

    Raises:
        EngineError: `engine.contract_mismatch`; and as `loading.load` for what it needs.
        JobError: `job.resolution_unsupported`.
    """

    scaled_output: ClassVar[bool] = False
    """Whether the network gives its pixels as it takes them; otherwise it gives them from 0 to 1."""
    own_mask: ClassVar[bool] = False
    """Whether its second output is a mask."""

    def __init__(self, loaded: Loaded, options: SwapOptions, settings: SwapSettings) -> None:
        require_inputs(loaded, "source", "target")
        entry = loaded.entry
        if entry.template is None or entry.size_px is None:
            raise EngineError(
                "engine.contract_mismatch",
                f"The catalogue states neither the alignment nor the input size of the model {entry.name!r}.",
                "Add `template` and `size_px` to its entry.",
                model=entry.name,
            )
        self.entry: ModelEntry = entry
        self.name = entry.name
        self._network = loaded.network
        self._template: Template = entry.template
        self._size_px: int = entry.size_px
        self._boost = boost_factor(entry, options.pixel_boost_px)
        self._feather = options.mask_feather if MaskKind.BOX in options.masks else 0.0
        self._weight = float(np.interp(options.identity_weight, (0, 1), _ALIKE))
        self._prepare_needs(settings)
        self.version = f"{_CODE_VERSION}-{models_digest(entry.name, settings)}"

    def crop_side_px(self, face: Face) -> int:
        """The network's size times the pixel boost, whatever the face."""
        del face
        return self._size_px * self._boost

    def alignment(self, face: Face, side_px: int) -> Floats:
        """float32 (2, 3), frame -> crop: the face's five points on the network's template."""
        return aligned(face.points, self._template, side_px)

    def prepare(self, name: str, portraits: Sequence[tuple[Picture, Face]]) -> NeuralIdentity:
        """Makes an identity of portraits (uint8 (H, W, 3), BGR) and their faces."""
        return NeuralIdentity(name, self.name, self._source(portraits))

    def swap(self, crops: Sequence[TargetCrop], identity: object) -> list[SwappedCrop]:
        """Swaps crops of one size; see `Swapper`.

        Raises:
            EngineError: `engine.identity_mismatch` for an identity of another engine, `engine.run_failed`.
        """
        if not isinstance(identity, NeuralIdentity) or identity.engine != self.name:
            raise EngineError(
                "engine.identity_mismatch",
                "The identity was prepared by another engine.",
                "Prepare the source with the engine that does the swap.",
            )
        parts = [part for crop in crops for part in split(crop.pixels, self._boost)]
        many = self._boost**2
        sources = np.concatenate([self._mixed(identity.tensor, crop) for crop in crops for _ in range(many)])
        target = to_tensor(parts, self.entry.mean, self.entry.std)
        made = self._network.run({"source": sources, "target": target}, reuse=True)
        pictures = to_pictures(made[0], *self._back)
        swapped = []
        for number in range(len(crops)):
            own = slice(number * many, (number + 1) * many)
            mask = np.asarray(box_mask(self._size_px * self._boost, self._feather))
            if self.own_mask:
                shown = [_mask_of(one) for one in made[1][own]]
                mask = np.minimum(mask, joined(shown, self._boost))
            swapped.append(SwappedCrop(joined(pictures[own], self._boost), mask))
        return swapped

    @property
    def _back(self) -> tuple[Triple, Triple]:
        return (self.entry.mean, self.entry.std) if self.scaled_output else ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def _prepare_needs(self, settings: SwapSettings) -> None:
        """Loads what else the contract needs; here nothing."""
        del settings

    @abstractmethod
    def _source(self, portraits: Sequence[tuple[Picture, Face]]) -> Floats:
        """float32 (1, ...): the network's `source`."""

    def _mixed(self, source: Floats, crop: TargetCrop) -> Floats:
        """The source with the target's identity mixed in, as far as the contract has such a thing."""
        del crop
        return source


class EmbeddingSwapper(NeuralSwapper):
    """A swapper whose source is an embedding; subclasses say in which form it goes in."""

    def _prepare_needs(self, settings: SwapSettings) -> None:
        self._recogniser = ArcFace(needed(self.entry, Contract.ARCFACE, settings))

    def _source(self, portraits: Sequence[tuple[Picture, Face]]) -> Floats:
        return self._conditioned(self._recogniser.of_portraits(portraits)).reshape(1, -1)

    def _mixed(self, source: Floats, crop: TargetCrop) -> Floats:
        if self._weight == 0:
            return source
        seen = portrait_crop(crop.pixels, crop.points, Template.ARCFACE_112_V2, ARCFACE_PX)
        theirs = self._conditioned(self._recogniser.embed([seen])[0]).reshape(1, -1)
        return np.asarray(source * (1 - self._weight) + theirs * self._weight, np.float32)

    def _conditioned(self, embedding: Floats) -> Floats:
        """float32 (512,) as the recogniser gives it -> as the network takes it."""
        return unit(embedding)


class PortraitSwapper(NeuralSwapper):
    """A swapper whose source is a picture of the face: the first portrait, RGB from 0 to 1."""

    source_template: ClassVar[Template]
    source_px: ClassVar[int]

    def _source(self, portraits: Sequence[tuple[Picture, Face]]) -> Floats:
        picture, face = portraits[0]
        crop = portrait_crop(picture, face.points, self.source_template, self.source_px)
        return to_tensor([crop], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).copy()  # it is kept


def boost_factor(entry: ModelEntry, wanted_px: int | None) -> int:
    """How many times the network's own size is swapped at. Raises `JobError` `job.resolution_unsupported`."""
    size_px = entry.size_px or 1
    if wanted_px is None:
        return 1
    if wanted_px % size_px or wanted_px > max(size_px, LARGEST_SIDE_PX):
        possible = [size_px * factor for factor in range(1, LARGEST_SIDE_PX // size_px + 1)]
        raise JobError(
            "job.resolution_unsupported",
            f"The engine {entry.name!r} cannot swap at {wanted_px} pixels.",
            f"Choose a multiple of {size_px} up to {max(size_px, LARGEST_SIDE_PX)}.",
            possible=possible,
        )
    return wanted_px // size_px


def _mask_of(output: Floats) -> NDArray[np.uint8]:
    """uint8 (S, S) from float32 (1, S, S), 0 to 1."""
    plane = np.ascontiguousarray(output.reshape(output.shape[-2:]))
    return np.asarray(cv2.addWeighted(plane, 255, plane, 0, 0, dtype=cv2.CV_8U), np.uint8)
