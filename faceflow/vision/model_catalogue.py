"""Which published networks there are: read from a data file, checked, and looked up by name.

`data/models.toml` says of every network what it is, how its tensors go in and out (its contract), how faces are
aligned for it, where its file comes from, and under which licence. A user's own file (`FACEFLOW_MODELS__EXTRA`) has
the same form; what it names again replaces what is built in, licences too. So a company that has bought a licence
says so in a file, and a new network needs no code where its contract is known.

    entry = catalogue(settings).find("inswapper_128")
    path = ModelCache(settings.models_folder).path(entry)        # faceflow.vision.model_cache

Nothing here touches the network: files are fetched by `faceflow.infrastructure.models`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from faceflow.errors import ModelError
from faceflow.given_files import read_given
from faceflow.job import FrozenModel
from faceflow.settings import SwapSettings

BUILT_IN = Path(__file__).with_name("data") / "models.toml"

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Address = Annotated[str, Field(pattern=r"^(https?|file|s3)://")]
_Triple = tuple[float, float, float]


class ModelKind(StrEnum):
    """What a model is for. A pack has no file: it names others."""

    SWAPPER = "swapper"
    RESTORER = "restorer"
    CONVERTER = "converter"
    DETECTOR = "detector"
    LANDMARKER = "landmarker"
    RECOGNISER = "recogniser"
    ATTRIBUTES = "attributes"
    MASKER = "masker"
    PACK = "pack"


class Contract(StrEnum):
    """Which tensors go in and come out; the class that runs a model knows these."""

    INSWAPPER = "inswapper"
    HYPERSWAP = "hyperswap"
    GHOST = "ghost"
    SIMSWAP = "simswap"
    UNIFACE = "uniface"
    BLENDSWAP = "blendswap"
    HIFIFACE = "hififace"
    ALPHAFACE = "alphaface"
    CROSSFACE = "crossface"
    GFPGAN = "gfpgan"
    CODEFORMER = "codeformer"
    GPEN = "gpen"
    RESTOREFORMER = "restoreformer"
    SCRFD = "scrfd"
    YOLOFACE = "yoloface"
    YUNET = "yunet"
    ARCFACE = "arcface"
    LANDMARK106 = "landmark106"
    LANDMARK68_3D = "landmark68_3d"
    FAN68 = "fan68"
    GENDERAGE = "genderage"
    XSEG = "xseg"
    OCCLUDER = "occluder"
    BISENET = "bisenet"


class Template(StrEnum):
    """Where the five points of a face lie in an aligned crop."""

    ARCFACE_112_V1 = "arcface_112_v1"
    ARCFACE_112_V2 = "arcface_112_v2"
    ARCFACE_128 = "arcface_128"
    FFHQ_512 = "ffhq_512"
    MTCNN_512 = "mtcnn_512"


class Licence(FrozenModel):
    """Under which conditions a model may be used.

    `commercial_ok` is true only where the licence plainly allows commercial use; unknown means no.
    """

    name: _Name
    title: str
    url: str = ""
    commercial_ok: bool = False
    note: str = ""


class ModelFile(FrozenModel):
    """One file of a model, or an archive.

    Attributes:
        name: its name in the models folder, below the model's own folder, and at a mirror.
        size_bytes: its size, None where it is not known.
        sha256: lower-case hexadecimal, None where it is not known: then the first file that comes is trusted.
        sources: addresses in the order in which they are asked.
        archive: the archive that holds it under its name, None where it comes by itself.
    """

    name: _Name
    size_bytes: int | None = Field(default=None, ge=1)
    sha256: _Sha256 | None = None
    sources: tuple[_Address, ...] = ()
    archive: _Name | None = None


class ModelEntry(FrozenModel):
    """One network of the catalogue.

    Attributes:
        files: the first is the one that is loaded; a pack has none.
        contract: None for a pack.
        template: how faces are aligned for it, None where it sees no aligned face.
        size_px: side of its square input in pixels, None where it has no picture input.
        mean, std: the input is (RGB / 255 - mean) / std. Contracts that see pixels otherwise ignore them.
        needs: models without which it cannot work, directly.
        variant_of: the model of which this is another file, with the same contract; it may stand in for that.
    """

    name: _Name
    kind: ModelKind
    licence: Licence
    files: tuple[ModelFile, ...] = ()
    contract: Contract | None = None
    template: Template | None = None
    size_px: int | None = Field(default=None, ge=1)
    mean: _Triple = (0.0, 0.0, 0.0)
    std: _Triple = (1.0, 1.0, 1.0)
    needs: tuple[_Name, ...] = ()
    variant_of: _Name | None = None
    note: str = ""

    @property
    def commercial_ok(self) -> bool:
        """Whether its own licence allows commercial use. What it needs counts too: see `model_licence.refusal`."""
        return self.licence.commercial_ok

    @property
    def size_bytes(self) -> int | None:
        """Bytes of all its files, None where one is not known."""
        sizes = [file.size_bytes for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


class Catalogue(FrozenModel):
    """All models, by name, and the archives that some of them come in."""

    models: dict[str, ModelEntry]
    archives: dict[str, ModelFile]

    def find(self, name: str) -> ModelEntry:
        """The model `name`. Raises `ModelError` `model.unknown`."""
        if name not in self.models:
            raise ModelError(
                "model.unknown",
                f"There is no model {name!r} in the catalogue.",
                "See `faceflow models list`, or describe the model in a file and set FACEFLOW_MODELS__EXTRA to "
                "that file.",
                model=name,
            )
        return self.models[name]

    def entries(self, kind: ModelKind | None = None) -> tuple[ModelEntry, ...]:
        """All models, or those of one kind, in the order of the file."""
        return tuple(entry for entry in self.models.values() if kind in (None, entry.kind))

    def with_needs(self, names: Iterable[str]) -> tuple[ModelEntry, ...]:
        """The models `names` and all that they need, each once, what is needed first.

        Raises:
            ModelError: `model.unknown`.
        """
        found: dict[str, ModelEntry] = {}

        def take(name: str) -> None:
            entry = self.find(name)
            for needed in entry.needs:
                if needed not in found:
                    take(needed)
            found.setdefault(name, entry)

        for name in names:
            take(name)
        return tuple(found.values())

    def variants(self, name: str) -> tuple[ModelEntry, ...]:
        """The model `name` and then the other files of the same network: any of them does the same work."""
        return (self.find(name), *(entry for entry in self.models.values() if entry.variant_of == name))


def load_catalogue(extra: Path | None = None, built_in: Path = BUILT_IN) -> Catalogue:
    """Reads the built-in file and then the user's own.

    Raises:
        ModelError: `model.catalogue_invalid`.
    """
    raw: dict[str, dict[str, Any]] = {"licence": {}, "source": {}, "archive": {}, "model": {}}
    for path in (built_in, extra):
        if path is None:
            continue
        for table, rows in _read(path).items():
            if table not in raw or not isinstance(rows, dict):
                raise _invalid(path, f"there is no table {table!r}")
            raw[table].update(rows)
    try:
        return _assemble(raw)
    except (ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(extra or built_in, str(error)) from error


def catalogue(settings: SwapSettings) -> Catalogue:
    """The catalogue that the settings name, read once.

    Raises:
        ModelError: `model.catalogue_invalid`.
    """
    return _cached(settings.models.extra)


@lru_cache(maxsize=4)
def _cached(extra: Path | None) -> Catalogue:
    return load_catalogue(extra)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_given(path))
    except RecursionError:
        raise _invalid(path, "it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, why: str) -> ModelError:
    return ModelError(
        "model.catalogue_invalid",
        f"The catalogue of models {str(path)!r} cannot be used: {why}",
        "Correct the file; docs/models.md describes its format.",
        path=str(path),
    )


def _assemble(raw: Mapping[str, Mapping[str, Any]]) -> Catalogue:
    licences = {name: Licence(name=name, **row) for name, row in raw["licence"].items()}
    patterns = {name: row["urls"] for name, row in raw["source"].items()}
    archives = {name: _file({"name": name, **row}, patterns) for name, row in raw["archive"].items()}
    models = {}
    for name, row in raw["model"].items():
        rest = dict(row)
        files = [*rest.pop("files", ()), *([rest.pop("file")] if "file" in rest else [])]
        licence = rest.pop("licence", "unknown")
        if licence not in licences:
            raise ValueError(f"model {name!r} refers to the licence {licence!r}, which is not defined")
        made = tuple(_file(file, patterns) for file in files)
        models[name] = ModelEntry(name=name, licence=licences[licence], files=made, **rest)
    _check(models, archives)
    return Catalogue(models=models, archives=archives)


def _file(row: Mapping[str, Any], patterns: Mapping[str, list[str]]) -> ModelFile:
    rest = dict(row)
    source = rest.pop("source", None)
    if source is not None and source not in patterns:
        raise ValueError(f"file {row.get('name')!r} refers to the source {source!r}, which is not defined")
    addresses = [*rest.pop("sources", ()), *(patterns[source] if source else ())]
    return ModelFile(sources=tuple(one.replace("{file}", str(row["name"])) for one in addresses), **rest)


def _check(models: Mapping[str, ModelEntry], archives: Mapping[str, ModelFile]) -> None:
    """Raises ValueError where names lead nowhere, or in a circle, or a model could not be run."""
    for entry in models.values():
        for name in (*entry.needs, *((entry.variant_of,) if entry.variant_of else ())):
            if name not in models:
                raise ValueError(f"model {entry.name!r} refers to the model {name!r}, which is not defined")
        if bool(entry.files) == (entry.kind is ModelKind.PACK) or bool(entry.contract) != bool(entry.files):
            raise ValueError(f"model {entry.name!r} must have a file and a contract (a pack has neither)")
        if len({file.name for file in entry.files}) < len(entry.files):
            raise ValueError(f"model {entry.name!r} lists a file twice")
        for file in entry.files:
            if file.archive is not None and file.archive not in archives:
                raise ValueError(f"file {file.name!r} refers to the archive {file.archive!r}, which is not defined")
        _check_circle(entry, models)


def _check_circle(entry: ModelEntry, models: Mapping[str, ModelEntry]) -> None:
    seen: set[str] = set()
    waiting = list(entry.needs)
    while waiting:
        name = waiting.pop()
        if name == entry.name:
            raise ValueError(f"model {entry.name!r} needs itself")
        if name not in seen:
            seen.add(name)
            waiting += models[name].needs if name in models else ()
