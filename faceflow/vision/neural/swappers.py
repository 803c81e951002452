"""The contracts of the published swappers: in which form each takes its source and gives its pixels.

Sizes, templates, means and deviations are the catalogue's; what stands here is what no number says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import EngineError
from faceflow.job import SwapOptions
from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Contract, Template
from faceflow.vision.neural.embedding import Converter, unit
from faceflow.vision.neural.loading import Loaded, load, needed
from faceflow.vision.neural.swapper import EmbeddingSwapper, NeuralSwapper, PortraitSwapper

Floats = NDArray[np.float32]

_EMBEDDING = 512


class Inswapper(EmbeddingSwapper):
    """The embedding goes through a matrix that lies in the file as the last constant, and is normalised after it."""

    def __init__(self, loaded: Loaded, options: SwapOptions, settings: SwapSettings) -> None:
        matrix = loaded.network.last_initializer()
        if matrix is None or matrix.shape != (_EMBEDDING, _EMBEDDING):
            raise EngineError(
                "engine.contract_mismatch",
                f"The file of the model {loaded.entry.name!r} does not end with its embedding matrix.",
                "Download the published file again; tools that rewrite networks may have moved the matrix.",
                model=loaded.entry.name,
            )
        self._matrix = np.asarray(matrix, np.float32)
        super().__init__(loaded, options, settings)

    def _conditioned(self, embedding: Floats) -> Floats:
        return unit(unit(embedding) @ self._matrix)


class Hyperswap(EmbeddingSwapper):
    """Gives a mask beside the picture."""

    scaled_output = True
    own_mask = True


class _ConvertedSwapper(EmbeddingSwapper):
    """A swapper that was trained with another recogniser."""

    def _prepare_needs(self, settings: SwapSettings) -> None:
        super()._prepare_needs(settings)
        self._converter = Converter(needed(self.entry, Contract.CROSSFACE, settings))

    def _conditioned(self, embedding: Floats) -> Floats:
        return unit(self._converter.convert(embedding))


class Ghost(_ConvertedSwapper):
    """Takes the converted embedding at its own length."""

    scaled_output = True

    def _conditioned(self, embedding: Floats) -> Floats:
        return self._converter.convert(embedding)


class Simswap(_ConvertedSwapper):
    """Gives pixels from 0 to 1, however it takes them."""


class Hififace(_ConvertedSwapper):
    """Gives its pixels as it takes them."""

    scaled_output = True


class Alphaface(EmbeddingSwapper):
    """Takes the embedding at length 1.

    What its release says of its pixels was not at hand: it is run like inswapper, by the mean and deviation of the
    catalogue going in and from 0 to 1 coming out.
    """


class Uniface(PortraitSwapper):
    """Takes the source as a picture."""

    scaled_output = True
    source_template = Template.FFHQ_512
    source_px = 256


class Blendswap(PortraitSwapper):
    """Takes the source as a small picture, and gives pixels from 0 to 1."""

    source_template = Template.ARCFACE_112_V2
    source_px = 112


_CONTRACTS: dict[Contract, type[NeuralSwapper]] = {
    Contract.INSWAPPER: Inswapper,
    Contract.HYPERSWAP: Hyperswap,
    Contract.GHOST: Ghost,
    Contract.SIMSWAP: Simswap,
    Contract.HIFIFACE: Hififace,
    Contract.ALPHAFACE: Alphaface,
    Contract.UNIFACE: Uniface,
    Contract.BLENDSWAP: Blendswap,
}


def load_swapper(name: str, options: SwapOptions, settings: SwapSettings) -> NeuralSwapper:
    """The swapper `name` of the catalogue.

    Raises:
        ModelError, ModelFileError, EngineError: see `loading.load`.
        JobError: `job.resolution_unsupported`.
    """
    loaded = load(name, settings)
    contract = loaded.entry.contract
    if contract not in _CONTRACTS:
        raise EngineError(
            "engine.contract_mismatch",
            f"The model {name!r} is not a swapper (contract {contract!r}).",
            "Choose a swapper from `faceflow models list`.",
            model=name,
        )
    return _CONTRACTS[contract](loaded, options, settings)
