"""`faceflow models`: which networks there are, fetching them, checking them, bringing them by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from faceflow.errors import FaceflowError, JobError
from faceflow.gateway.cli.model_screen import pull_screen, show_accepted, show_checks, show_models, show_report
from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.vision.model_cache import CacheState, ModelCache, ready_model
from faceflow.vision.model_catalogue import Catalogue, ModelEntry, ModelKind, catalogue
from faceflow.vision.model_licence import accept, open_licences

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Accept = Annotated[
    bool,
    typer.Option(
        "--accept-licence", help="Accept the terms of models that are not licensed for commercial use (needed once)."
    ),
]

models = typer.Typer(
    name="models", help="List, download, verify and import the published models.", no_args_is_help=True
)


@models.command("list")
def list_models(
    kind: Annotated[ModelKind | None, typer.Option("--kind", help="Only models of this kind.")] = None,
    as_json: AsJson = False,
) -> None:
    """List all models in the catalogue: size, licence, whether commercial use is allowed, whether it is installed."""
    settings = current_settings()
    cache = ModelCache(settings.models_folder)
    known = catalogue(settings)
    rows = [_facts(entry, cache, known) for entry in known.entries(kind)]
    if as_json:
        print_json({"folder": str(cache.folder), "models": rows})
    else:
        show_models(rows, cache.folder)


@models.command("pull")
def pull_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Names from `faceflow models list`.")
    ] = None,
    all_of: Annotated[
        list[ModelKind] | None, typer.Option("--all-of", help="All models of this kind, without variants.")
    ] = None,
    for_pool: Annotated[
        str | None,
        typer.Option(
            "--for-pool",
            help="The models that this work pool needs, according to FACEFLOW_MODELS__POOLS or the list of pools.",
        ),
    ] = None,
    accept_licence: Accept = False,
    as_json: AsJson = False,
) -> None:
    """Download models, and the models that they need, into the models folder.

    Run the same command again to continue an interrupted download; existing files are only verified.
    """
    from faceflow.infrastructure.models.pools import models_of_pool
    from faceflow.infrastructure.models.pull import pull

    settings = current_settings()
    known = catalogue(settings)
    wanted = [*(names or ()), *(models_of_pool(for_pool, settings) if for_pool else ())]
    wanted += [entry.name for kind in all_of or () for entry in known.entries(kind) if not entry.variant_of]
    if not wanted:
        raise JobError(
            "job.usage", "No model was given.", "faceflow models pull NAME..., or --all-of KIND, or --for-pool POOL"
        )
    if accept_licence:
        _accept(wanted, settings, known)
    with pull_screen() as watcher:
        report = pull(wanted, settings, watcher=watcher)
    if not as_json or not report.failed:
        show = print_json if as_json else show_report
        show({"pulled": report.pulled, "present": report.present, "folder": str(settings.models_folder)})
    report.require_complete()


@models.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Default: all installed models.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Hash the installed models again. Exit code 1 if one is not as it should be."""
    settings = current_settings()
    known, cache = catalogue(settings), ModelCache(settings.models_folder)
    chosen = known.with_needs(names) if names else _installed(known, cache)
    checks = [_check(entry, cache) for entry in chosen if entry.files]
    good = all(check["good"] for check in checks)
    if as_json:
        print_json({"good": good, "models": checks})
    else:
        show_checks(checks)
    return 0 if good else 1


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A model file, or an archive of several.")],
    name: Annotated[
        str | None, typer.Option("--as", help="The model's name, if the file does not identify it.")
    ] = None,
    accept_licence: Accept = False,
    as_json: AsJson = False,
) -> None:
    """Check a model file and copy it into the models folder."""
    from faceflow.infrastructure.models.importing import import_file, recognised_models

    settings = current_settings()
    known = catalogue(settings)
    if accept_licence:
        _accept(recognised_models(file, name, known), settings, known)
    with pull_screen() as watcher:
        imported = import_file(file, name, settings, watcher=watcher)
    show = print_json if as_json else show_report
    show({"imported": imported, "folder": str(settings.models_folder)})


@models.command("path")
def model_path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from `faceflow models list`.")],
    as_json: AsJson = False,
) -> None:
    """Print the path of a model's file, after verifying it."""
    ready = ready_model(name, current_settings())
    if as_json:
        print_json({"name": ready.entry.name, "path": str(ready.path), "sha256": ready.sha256})
    else:
        result_console().print(str(ready.path), markup=False)


def _accept(names: Sequence[str], settings: Settings, known: Catalogue) -> None:
    if settings.models.commercial:
        return  # what was accepted for other uses counts for nothing; the pull says so
    licences = {one.name: one for name in names for one in open_licences(known.find(name), settings, known)}
    accept(licences.values(), settings.models_folder)
    show_accepted(licences.values())


def _installed(known: Catalogue, cache: ModelCache) -> tuple[ModelEntry, ...]:
    return tuple(one for one in known.entries() if one.files and cache.state(one) is not CacheState.MISSING)


def _facts(entry: ModelEntry, cache: ModelCache, known: Catalogue) -> dict[str, Any]:
    parts = known.with_needs([entry.name])
    record = cache.record(cache.file_path(entry, entry.files[0])) if entry.files else None
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "contract": entry.contract.value if entry.contract else None,
        "size_bytes": sum(part.size_bytes or 0 for part in parts) if not entry.files else entry.size_bytes,
        "sha256": entry.files[0].sha256 or (record.sha256 if record else None) if entry.files else None,
        "hash_published": bool(entry.files and entry.files[0].sha256),
        "licence": entry.licence.name,
        "licence_title": entry.licence.title,
        "licence_url": entry.licence.url,
        # What it needs counts too: a free swapper behind a recogniser that is not free is not free to use.
        "commercial": all(part.commercial_ok for part in parts),
        "needs": list(entry.needs),
        "variant_of": entry.variant_of,
        "note": entry.note,
        "state": (min((cache.state(part) for part in parts), key=_BAD_FIRST.index) if parts else None),
    }


_BAD_FIRST = (CacheState.DAMAGED, CacheState.MISSING, CacheState.PRESENT, CacheState.VERIFIED)


def _check(entry: ModelEntry, cache: ModelCache) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": entry.name, "good": True, "sha256": None, "published": False, "error": None}
    try:
        records = [cache.verify_file(entry, file, again=True) for file in entry.files]
    except FaceflowError as error:
        return {**facts, "good": False, "error": error.to_dict()}
    return {**facts, "sha256": records[0].sha256, "published": not records[0].first_use}
