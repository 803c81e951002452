"""The engines by name: the embedded ones from one table a family, all others from the catalogue of published networks.

A new embedded engine is one class and one line here; a new network is an entry in the catalogue. Engines are made once
per process, behind a lock (several segments start at once, and a large model must not be loaded once a thread), and are
shared by all threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TypeVar

from faceflow.errors import JobError
from faceflow.job import MaskKind, SwapOptions
from faceflow.settings import SwapSettings
from faceflow.vision.analyser_networks import (
    AUTO_LANDMARKER,
    EMBEDDED_ANALYSER,
    INSIGHTFACE,
    NO_LANDMARKER,
    analyser_models,
    detector_model,
    landmarker_model,
    need_insightface,
    unknown_engine,
)
from faceflow.vision.detail_restorer import DetailRestorer
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.mesh_swapper import MeshSwapper
from faceflow.vision.model_cache import CacheState, ModelCache, ready_model
from faceflow.vision.model_catalogue import Catalogue, ModelEntry, ModelKind, catalogue
from faceflow.vision.model_licence import allowed
from faceflow.vision.neural.genderage import GenderAge
from faceflow.vision.neural.insightface_session import require_insightface
from faceflow.vision.neural.loading import models_digest
from faceflow.vision.neural.maskers import load_maskers, require_maskers
from faceflow.vision.neural.network_analyser import NetworkAnalyser
from faceflow.vision.neural.recogniser import ARCFACE_MODEL, ArcFaceRecogniser
from faceflow.vision.neural.restorer import load_restorer
from faceflow.vision.neural.swapper import boost_factor
from faceflow.vision.neural.swappers import load_swapper
from faceflow.vision.recogniser import DlibRecogniser, recogniser_installed
from faceflow.vision.runtime.networks import release_networks
from faceflow.vision.runtime.providers import onnxruntime, require_provider
from faceflow.vision.shapes import (
    Analyser,
    Masker,
    PlacedRestorer,
    Recogniser,
    Restorer,
    SwappedCrop,
    Swapper,
    TraitsEstimator,
)

AUTO = "auto"
"""The engine that stands for the best one there is."""
EMBEDDED = "mesh"
"""The swapper that is always there."""
_BEST_FIRST = (
    "hyperswap_1a_256",
    "hyperswap_1c_256",
    "hyperswap_1b_256",
    "inswapper_128",
    "simswap_unofficial_512",
    "ghost_3_256",
    "ghost_2_256",
    "ghost_1_256",
    "simswap_256",
    "hififace_unofficial_256",
    "uniface_256",
    "blendswap_256",
)
"""What `auto` looks for. alphaface_256 is left out as long as its contract is not confirmed."""


class NoRestorer:
    """Leaves the crops as they are."""

    name = "none"
    version = "1"

    def restore(self, crops: Sequence[SwappedCrop], blend: float) -> list[SwappedCrop]:
        """The same crops, whatever the blend."""
        del blend
        return list(crops)


_ANALYSERS: dict[str, Callable[[], Analyser]] = {EMBEDDED_ANALYSER: EmbeddedAnalyser}
_SWAPPERS: dict[str, Callable[[], Swapper]] = {EMBEDDED: MeshSwapper}
_RESTORERS: dict[str, Callable[[], Restorer]] = {"detail": DetailRestorer, "none": NoRestorer}
_RECOGNISERS: dict[str, Callable[[], Recogniser]] = {"dlib": DlibRecogniser}

_Engine = TypeVar("_Engine")
_guard = threading.Lock()
_made: dict[tuple[str, ...], object] = {}


def make_analyser(name: str, settings: SwapSettings, landmarker: str = AUTO_LANDMARKER) -> Analyser:
    """The analyser `name`, whose trackers refine points with the landmarker; see `analyser_networks`.

    Raises:
        JobError: `job.engine_unknown`, `job.landmarker_unfit`.
        ModelError, ModelFileError, EngineError: a network, or the package that reads it, may not be used or is not
            there.
    """
    known = catalogue(settings)
    detector, refining = detector_model(name, known), landmarker_model(name, landmarker, known)
    if detector is None:
        return _embedded("analyser", name, _ANALYSERS)
    named = landmarker != AUTO_LANDMARKER
    return _once(
        ("analyser", name, landmarker, *_machine(settings)),
        lambda: NetworkAnalyser(name, detector, refining, settings, everywhere=named),
    )


def make_swapper(name: str, settings: SwapSettings, options: SwapOptions | None = None) -> Swapper:
    """The swapper `name`; `auto` as `resolve_engine` has it.

    Raises:
        JobError: `job.engine_unknown`, `job.resolution_unsupported`.
        ModelError, ModelFileError, EngineError: a network may not be used, is not there, or does not run as asked.
    """
    options, known = options or SwapOptions(), catalogue(settings)
    name = resolve_engine(name, settings)
    if name in _SWAPPERS or not _published(name, ModelKind.SWAPPER, known):
        return _embedded("engine", name, _SWAPPERS, known.entries(ModelKind.SWAPPER))
    return _once(("engine", name, *_state(options, settings)), lambda: load_swapper(name, options, settings))


def make_restorer(name: str, settings: SwapSettings, options: SwapOptions | None = None) -> Restorer | PlacedRestorer:
    """The restorer `name`. Raises as `make_swapper`."""
    options, known = options or SwapOptions(), catalogue(settings)
    if name in _RESTORERS or not _published(name, ModelKind.RESTORER, known):
        return _embedded("restorer", name, _RESTORERS, known.entries(ModelKind.RESTORER))
    weight = options.restorer_weight
    return _once(("restorer", name, *_state(options, settings)), lambda: load_restorer(name, weight, settings))


def make_maskers(options: SwapOptions, settings: SwapSettings) -> Sequence[Masker]:
    """The networks that bound the swap, as the job asks. Raises as `make_swapper`."""
    if not set(options.masks) - {MaskKind.BOX}:
        return ()
    return _once(("masks", *_state(options, settings)), lambda: load_maskers(options, settings))


def make_recogniser(analyser: str, settings: SwapSettings) -> Recogniser | None:
    """What tells people apart: with the analyser `insightface` its own network, else dlib's.

    Returns:
        None where dlib's extra is not installed.

    Raises:
        EngineError: dlib's network is damaged; and as `make_analyser`.
    """
    if analyser == INSIGHTFACE:
        return _once(("recogniser", ARCFACE_MODEL, *_machine(settings)), lambda: ArcFaceRecogniser(settings))
    return _embedded("recogniser", "dlib", _RECOGNISERS) if recogniser_installed() else None


def make_traits_estimator(settings: SwapSettings) -> TraitsEstimator:
    """What guesses gender and age. Raises as `make_analyser`."""
    return _once(("traits", *_machine(settings)), lambda: GenderAge(settings))


def resolve_engine(name: str, settings: SwapSettings) -> str:
    """The engine itself where the name is `auto`: the best that is installed and that the licence policy allows."""
    if name != AUTO:
        return name
    known, cache = catalogue(settings), ModelCache(settings.models_folder)
    for best in _BEST_FIRST:
        needed = known.with_needs([best]) if best in known.models else ()
        there = [
            any(cache.state(one) is not CacheState.MISSING for one in known.variants(entry.name)) for entry in needed
        ]
        if there and all(there) and allowed(known.find(best), settings, known):
            return best
    return EMBEDDED


def require_names(engine: str, restorer: str, settings: SwapSettings) -> None:
    """That something bears these names, whether it is installed here or not.

    Args:
        engine, restorer: what a job names.
        settings: which catalogue of networks there is.

    Raises:
        JobError: `job.engine_unknown`.
    """
    known = catalogue(settings)
    for family, name, table, kind in (
        ("engine", engine, (AUTO, *_SWAPPERS), ModelKind.SWAPPER),
        ("restorer", restorer, tuple(_RESTORERS), ModelKind.RESTORER),
    ):
        if name not in table and not _published(name, kind, known):
            raise _unknown(family, name, table, known.entries(kind))


def require_engines(options: SwapOptions, settings: SwapSettings, *, identifies: bool = False) -> None:
    """Sees, without loading a network, that everything a job names is there and may run here.

    Args:
        options: what the job names.
        settings: where the networks lie, and how they are run.
        identifies: whether people must be told apart.

    Raises:
        JobError: `job.analyser_unfit`, `job.landmarker_unfit`.
        As `make_swapper` and `make_analyser`.
    """
    engine, known = resolve_engine(options.engine, settings), catalogue(settings)
    published = _published_names(options, settings)
    if engine == EMBEDDED and detector_model(options.analyser, known) is not None:
        raise JobError(
            "job.analyser_unfit",
            f"The engine {EMBEDDED!r} needs a mesh of the face, which the analyser {options.analyser!r} does not "
            "provide.",
            f"Choose a published network with --engine, or the analyser {EMBEDDED_ANALYSER!r}.",
        )
    require_analyser(options.analyser, settings, options.landmarker, identifies=identifies, traits=options.asks_traits)
    require_maskers(options, known)
    if engine not in published:
        make_swapper(engine, settings)
    if options.restorer not in published:
        make_restorer(options.restorer, settings)
    if not published:
        return
    require_provider(settings.engine.provider)
    for entry in known.with_needs(published):
        ready_model(entry.name, settings)
    if engine in published:
        boost_factor(known.find(engine), options.pixel_boost_px)


def require_analyser(
    name: str,
    settings: SwapSettings,
    landmarker: str = NO_LANDMARKER,
    *,
    identifies: bool = False,
    traits: bool = False,
) -> None:
    """Sees, without loading a network, that an analyser is there and may run here.

    Args:
        name: the analyser.
        settings: where the networks lie, and how they are run.
        landmarker: what refines its points.
        identifies: whether people must be told apart.
        traits: whether gender and age are asked for.

    Raises:
        As `make_analyser`.
    """
    known = catalogue(settings)
    published = analyser_models(name, landmarker, known, identifies=identifies, traits=traits)
    if not published:
        return
    if need_insightface(published, known):
        require_insightface()
    require_provider(settings.engine.provider)
    for model in published:
        ready_model(model, settings)


def engine_versions(
    options: SwapOptions | None = None, settings: SwapSettings | None = None, *, identifies: bool = False
) -> dict[str, str]:
    """Version of every engine that decides on what a job makes, by `family.name`; part of its cache keys.

    Args:
        options: what the job names; without it, the embedded engines.
        settings: where the networks lie. Their hashes are part of their versions, and so is how they are run.
        identifies: whether people must be told apart.

    Raises:
        As `require_engines`.
    """
    tables: dict[str, Mapping[str, Callable[[], Analyser | Swapper | Restorer]]] = {
        "analyser": _ANALYSERS,
        "engine": _SWAPPERS,
        "restorer": _RESTORERS,
    }
    versions = {
        f"{family}.{name}": _embedded(family, name, table).version for family, table in tables.items() for name in table
    }
    if options is not None and settings is not None:
        known = catalogue(settings)
        looking = analyser_models(
            options.analyser, options.landmarker, known, identifies=identifies, traits=options.asks_traits
        )
        if need_insightface(looking, known):
            versions["insightface"] = version("insightface")
        for name in dict.fromkeys((*looking, *_published_names(options, settings))):
            versions[f"model.{name}"] = models_digest(name, settings)
            versions["provider"] = f"{settings.engine.provider}, {settings.engine.faces_at_once} at once"
            versions["onnxruntime"] = str(onnxruntime().__version__)
    return versions


def release_engines() -> None:
    """Lets go of all engines and their networks."""
    with _guard:
        _made.clear()
    release_networks()


def _published_names(options: SwapOptions, settings: SwapSettings) -> list[str]:
    """The networks that a job names."""
    engine, known = resolve_engine(options.engine, settings), catalogue(settings)
    named = [
        *([engine] if engine not in _SWAPPERS and _published(engine, ModelKind.SWAPPER, known) else ()),
        *([options.restorer] if _published(options.restorer, ModelKind.RESTORER, known) else ()),
        *([options.occlusion_model] if MaskKind.OCCLUSION in options.masks else ()),
        *([options.region_model] if MaskKind.REGION in options.masks else ()),
    ]
    return list(dict.fromkeys(named))


def _published(name: str, kind: ModelKind, known: Catalogue) -> bool:
    entry = known.models.get(name)
    return entry is not None and entry.kind is kind


def _state(options: SwapOptions, settings: SwapSettings) -> tuple[str, ...]:
    """What else than its name an engine depends on."""
    return (
        options.model_dump_json(
            include={
                "restorer_weight", "identity_weight", "pixel_boost_px", "masks", "mask_feather", "mask_regions",
                "occlusion_model", "region_model",
            }
        ),
        *_machine(settings),
    )  # fmt: skip


def _machine(settings: SwapSettings) -> tuple[str, ...]:
    """How networks are run here, where they lie and which catalogue describes them."""
    return settings.engine.model_dump_json(), str(settings.models_folder), str(settings.models.extra)


def _embedded(
    family: str,
    name: str,
    table: Mapping[str, Callable[[], _Engine]],
    published: Iterable[ModelEntry] = (),
) -> _Engine:
    if name not in table:
        raise _unknown(family, name, table, published)
    return _once((family, name), table[name])


def _unknown(family: str, name: str, table: Iterable[str], published: Iterable[ModelEntry]) -> JobError:
    return unknown_engine(family, name, sorted({*table, *(entry.name for entry in published)}))


def _once(key: tuple[str, ...], make: Callable[[], _Engine]) -> _Engine:
    with _guard:
        made = _made.get(key)
        if made is None:
            made = _made[key] = make()
    return made  # type: ignore[return-value]  # what this key's factory made
