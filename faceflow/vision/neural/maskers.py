"""Masks from networks: what hides a face (XSeg, occluder), and which parts of it are skin, brows, eyes (BiSeNet).

All look at the target's own crop, before it is swapped: a hand in front of the face stays in front, hair over the
forehead stays hair. Each gives a mask of the crop; the smallest of all masks holds. What a network is not sure of is
cut at its half and feathered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.job import FaceRegion, MaskKind, SwapOptions
from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Catalogue, Contract, catalogue
from faceflow.vision.neural.loading import Loaded, load
from faceflow.vision.neural.pixels import to_tensor
from faceflow.vision.shapes import Picture, TargetCrop

_CODE_VERSION = "1"
_SOFT = 5 / 256
"""Sigma of the blur, as a share of the crop's side."""
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLASSES: dict[FaceRegion, int] = {
    FaceRegion.SKIN: 1,
    FaceRegion.LEFT_BROW: 2,
    FaceRegion.RIGHT_BROW: 3,
    FaceRegion.LEFT_EYE: 4,
    FaceRegion.RIGHT_EYE: 5,
    FaceRegion.GLASSES: 6,
    FaceRegion.NOSE: 10,
    FaceRegion.MOUTH: 11,
    FaceRegion.UPPER_LIP: 12,
    FaceRegion.LOWER_LIP: 13,
}
"""Classes of CelebAMask-HQ as face-parsing networks number them."""


class OcclusionMasker:
    """XSeg: (1, 256, 256, 3), BGR from 0 to 1, to (1, 256, 256, 1), 1 where the face is not hidden."""

    def __init__(self, loaded: Loaded) -> None:
        self.version = f"{_CODE_VERSION}-{loaded.sha256[:12]}"
        self._network = loaded.network
        self._size_px = loaded.entry.size_px or 256

    def masks(self, crops: Sequence[TargetCrop]) -> list[NDArray[np.uint8]]:
        """uint8 (S, S) for each crop, 255 where the face is seen."""
        small = np.stack([_resized(crop.pixels, self._size_px) for crop in crops])
        tensor = np.multiply(small, np.float32(1 / 255), dtype=np.float32)
        made = self._network.run({self._network.inputs[0].name: tensor})[0]
        shown = made.reshape(len(crops), self._size_px, self._size_px)
        return [_soft(mask, crop.pixels.shape[0]) for mask, crop in zip(shown, crops, strict=True)]


class OccluderMasker:
    """VisoMaster's occluder: (1, 3, 256, 256), RGB from 0 to 1, to (1, 1, 256, 256), above 0 where the face is seen."""

    def __init__(self, loaded: Loaded) -> None:
        self.version = f"{_CODE_VERSION}-{loaded.sha256[:12]}"
        self._network = loaded.network
        self._size_px = loaded.entry.size_px or 256

    def masks(self, crops: Sequence[TargetCrop]) -> list[NDArray[np.uint8]]:
        """uint8 (S, S) for each crop, 255 where the face is seen."""
        small = [_resized(crop.pixels, self._size_px) for crop in crops]
        tensor = to_tensor(small, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        made = self._network.run({self._network.inputs[0].name: tensor}, reuse=True)[0]
        shown = (made.reshape(len(crops), self._size_px, self._size_px) > 0).astype(np.float32)
        return [_soft(mask, crop.pixels.shape[0]) for mask, crop in zip(shown, crops, strict=True)]


class RegionMasker:
    """BiSeNet: (1, 3, 512, 512), ImageNet's mean and deviation, to 19 classes.

    Args:
        loaded: the network.
        regions: the parts that are swapped; all others stay the target's own.
    """

    def __init__(self, loaded: Loaded, regions: Sequence[FaceRegion]) -> None:
        self.version = f"{_CODE_VERSION}-{loaded.sha256[:12]}"
        self._network = loaded.network
        self._size_px = loaded.entry.size_px or 512
        self._classes = [_CLASSES[region] for region in regions]

    def masks(self, crops: Sequence[TargetCrop]) -> list[NDArray[np.uint8]]:
        """uint8 (S, S) for each crop, 255 where it shows one of the regions."""
        small = [_resized(crop.pixels, self._size_px) for crop in crops]
        made = self._network.run({self._network.inputs[0].name: to_tensor(small, *_IMAGENET)}, reuse=True)[0]
        wanted = np.isin(made.argmax(axis=1), self._classes).astype(np.float32)
        return [_soft(mask, crop.pixels.shape[0]) for mask, crop in zip(wanted, crops, strict=True)]


_OCCLUSION: dict[Contract, type[OcclusionMasker | OccluderMasker]] = {
    Contract.XSEG: OcclusionMasker,
    Contract.OCCLUDER: OccluderMasker,
}


def load_maskers(options: SwapOptions, settings: SwapSettings) -> list[OcclusionMasker | OccluderMasker | RegionMasker]:
    """The maskers that a job asks for. Raises as `loading.load` and `require_maskers`."""
    require_maskers(options, catalogue(settings))
    found: list[OcclusionMasker | OccluderMasker | RegionMasker] = []
    if MaskKind.OCCLUSION in options.masks:
        loaded = load(options.occlusion_model, settings)
        found.append(_OCCLUSION[loaded.entry.contract or Contract.XSEG](loaded))
    if MaskKind.REGION in options.masks:
        found.append(RegionMasker(load(options.region_model, settings), options.mask_regions))
    return found


def require_maskers(options: SwapOptions, known: Catalogue) -> None:
    """Sees, without loading a network, that what a job names for its masks makes such masks.

    Args:
        options: what the job names.
        known: the networks that there are.

    Raises:
        ModelError: `model.unknown`.
        EngineError: `engine.contract_mismatch`.
    """
    if MaskKind.OCCLUSION in options.masks:
        _require(options.occlusion_model, _OCCLUSION, known)
    if MaskKind.REGION in options.masks:
        _require(options.region_model, [Contract.BISENET], known)


def _require(name: str, wanted: Collection[Contract], known: Catalogue) -> None:
    if known.find(name).contract not in wanted:
        raise EngineError(
            "engine.contract_mismatch",
            f"The model {name!r} does not have the contract {' or '.join(repr(one.value) for one in wanted)}.",
            "Choose a masker of that kind; see `faceflow models list`.",
            model=name,
        )


def _resized(picture: Picture, side_px: int) -> Picture:
    if picture.shape[0] == side_px:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=how), np.uint8)


def _soft(mask: NDArray[np.float32], side_px: int) -> NDArray[np.uint8]:
    """A mask of 0 to 1 at the crop's size, blurred; from a half on it rises from 0 to 255."""
    full = cv2.resize(np.ascontiguousarray(mask).clip(0, 1), (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(full, (0, 0), _SOFT * side_px)
    return np.asarray(cv2.addWeighted(blurred, 510, blurred, 0, -255, dtype=cv2.CV_8U), np.uint8)
