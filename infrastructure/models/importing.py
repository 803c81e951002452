"""Model files that somebody brought by hand: checked like downloads, then put in their place.

Without a name the file is recognised by its hash, in whatever name it comes; where nobody published one, by its own
name. Archives that the catalogue knows are unpacked.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from faceflow.errors import ModelError
from faceflow.given_files import open_given
from faceflow.infrastructure.models.fetcher import Fetcher
from faceflow.infrastructure.models.folder_source import FolderSource
from faceflow.infrastructure.models.http_source import http_client
from faceflow.infrastructure.models.watching import EventWatcher, PullWatcher
from faceflow.settings import SwapSettings
from faceflow.vision.model_cache import check
from faceflow.vision.model_catalogue import Catalogue, ModelEntry, ModelFile, catalogue
from faceflow.vision.model_licence import require_allowed

MOST_BYTES = 32 * 2**30
"""No model is so large; what is, is a disk image or has no end."""


def import_file(
    path: Path,
    name: str | None,
    settings: SwapSettings,
    *,
    known: Catalogue | None = None,
    watcher: PullWatcher | None = None,
) -> list[str]:
    """Copies the file into the models folder and gives the names of the models that are there now.

    Args:
        path: a model's file, or an archive of several. name: the model, where the file alone does not tell. settings:
        folder and licence policy. known: the catalogue; that of this process where none is given. watcher: hears how
        far the copying is.

    Raises:
        ModelError: `model.unknown`, `model.licence`, `model.import_unreadable`, `model.import_unknown`. ModelFileError:
        `model.hash`, `model.truncated`, `model.not_onnx`. ResourceError, OutputError, StoreError: the models folder
        cannot hold it.
    """
    known = known or catalogue(settings)
    archive, pieces = _recognised(path, name, known)
    for entry, _ in pieces:
        require_allowed(entry, settings, known)
    with http_client(settings.models.silence_s) as client:
        fetcher = Fetcher(settings, known, client, watcher or EventWatcher(), threading.Event())
        if archive is not None:
            fetcher.unpack(path, archive, str(path))
        for entry, file in pieces if archive is None else ():
            # Before anything is copied: its own words for what is wrong with it.
            check(entry, file, path, fetcher.cache.record(fetcher.cache.file_path(entry, file)), str(path))
            fetcher.take(entry, file, FolderSource(path))
    return [entry.name for entry, _ in pieces]


def recognised_models(path: Path, name: str | None, known: Catalogue) -> list[str]:
    """Which models the file holds. Raises `ModelError` as `import_file`."""
    return [entry.name for entry, _ in _recognised(path, name, known)[1]]


def _recognised(
    path: Path, name: str | None, known: Catalogue
) -> tuple[ModelFile | None, list[tuple[ModelEntry, ModelFile]]]:
    """The archive that the file is, where it is one, and the files of models that it is or holds."""
    found = _sha256(path)
    pieces = [(entry, file) for entry in known.entries() for file in entry.files]
    for archive in known.archives.values():
        if archive.sha256 == found and name is None:
            return archive, [(entry, file) for entry, file in pieces if file.archive == archive.name]
    return None, [_piece(path, found, name, known)]


def _sha256(path: Path) -> str:
    try:
        with open_given(path, MOST_BYTES) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            "model.import_unreadable",
            f"The file {str(path)!r} cannot be read: {error.strerror or error}.",
            "Pass the path of a model file that you can read.",
        ) from error


def _piece(path: Path, found: str, name: str | None, known: Catalogue) -> tuple[ModelEntry, ModelFile]:
    entries = (known.find(name),) if name is not None else known.entries()
    files = [(entry, file) for entry in entries for file in entry.files]
    for entry, file in files:
        if file.sha256 == found:
            return entry, file
    fitting = [(entry, file) for entry, file in files if file.name == path.name or (name and len(files) == 1)]
    unhashed = [(entry, file) for entry, file in fitting if file.sha256 is None]
    if name is not None and fitting:
        return fitting[0]
    if len(unhashed) == 1:
        return unhashed[0]
    if name is not None:
        names = ", ".join(file.name for _, file in files)
        message = f"The model {name!r} has several files, and {path.name!r} is not one of them: {names or 'none'}."
    else:
        message = f"The file {str(path)!r} is not in the catalogue (SHA-256 {found})."
    raise ModelError(
        "model.import_unknown",
        message,
        "Name the model with --as, or describe the file in your own catalogue (FACEFLOW_MODELS__EXTRA).",
        path=str(path),
        sha256=found,
    )
