"""From a name in the catalogue to a network: the licence asked, the file verified, the session shared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from faceflow.errors import EngineError
from faceflow.settings import SwapSettings
from faceflow.vision.model_cache import ready_model
from faceflow.vision.model_catalogue import Contract, ModelEntry, catalogue
from faceflow.vision.runtime.networks import Network, open_network
from faceflow.vision.runtime.providers import require_provider


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network with what the catalogue says of it and the hash of its file."""

    entry: ModelEntry
    network: Network
    sha256: str


def load(name: str, settings: SwapSettings, sides_px: tuple[int, int] = (1, 1)) -> Loaded:
    """The model `name`, ready to run.

    Args:
        name: of the catalogue.
        settings: where the models are, and how they run.
        sides_px: as `open_network` has them.

    Raises:
        ModelError: `model.unknown`, `model.licence`.
        ModelFileError: `model.missing`, and where the file is damaged.
        EngineError: `engine.provider_missing`, `engine.model_unusable`, `engine.contract_mismatch`.
    """
    require_provider(settings.engine.provider)
    ready = ready_model(name, settings)
    return Loaded(ready.entry, open_network(ready.path, ready.sha256, settings, sides_px), ready.sha256)


def needed(entry: ModelEntry, contract: Contract, settings: SwapSettings) -> Loaded:
    """The one among the models that `entry` needs that has this contract. Raises as `load`."""
    for name in entry.needs:
        found = load(name, settings)
        if found.entry.contract is contract:
            return found
    raise EngineError(
        "engine.contract_mismatch",
        f"The catalogue lists no model with the contract {contract.value!r} among the needs of {entry.name!r}.",
        "Add it to `needs` in the catalogue file.",
        model=entry.name,
    )


def models_digest(name: str, settings: SwapSettings) -> str:
    """Twelve hexadecimal digits for the files of a model and of all that it needs. Raises as `load`."""
    hashes = [
        f"{entry.name} {ready_model(entry.name, settings).sha256}" for entry in catalogue(settings).with_needs([name])
    ]
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:12]


def contract_mismatch(loaded: Loaded, wanted: str) -> EngineError:
    """The error where a file is another network than its catalogue entry says."""
    return EngineError(
        "engine.contract_mismatch",
        f"The network of the model {loaded.entry.name!r} is not {wanted}.",
        "Check the file with `faceflow models verify`; download it again with `faceflow models pull`.",
        model=loaded.entry.name,
    )


def require_inputs(loaded: Loaded, *names: str) -> None:
    """Sees that a network has these inputs. Raises `EngineError` `engine.contract_mismatch`."""
    found = [value.name for value in loaded.network.inputs]
    if not set(names) <= set(found):
        raise EngineError(
            "engine.contract_mismatch",
            f"The network of the model {loaded.entry.name!r} has the inputs {', '.join(found)}, not "
            f"{', '.join(names)}.",
            "The file does not match the catalogue; check its contract there.",
            model=loaded.entry.name,
        )
