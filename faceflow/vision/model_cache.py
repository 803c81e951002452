"""The folder of model files: what lies there is what the catalogue names, or it is an error.

    <models folder>/<model>/<file>            the file itself, appears whole or not at all
    <models folder>/<model>/<file>.record     what is known of it: hash, size, time, where it came from

The size is compared every time. Half a gigabyte is hashed once per state of the file: the record keeps the hash with
the size and modification time that it was taken at. Where nobody published a hash, the first one that was seen is
recorded and holds from then on (trust on first use). The folder may be shared by many processes and machines, and may
be read-only: then what was hashed is remembered by this process alone.

    ready = ready_model("inswapper_128", settings)      # licence, presence, size and hash are checked
    session = load(ready.path)
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from faceflow.errors import FaceflowError, ModelFileError
from faceflow.job import FrozenModel
from faceflow.log import events
from faceflow.own_files import read_own
from faceflow.publish import publishing, sha256_of
from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import ModelEntry, ModelFile, catalogue
from faceflow.vision.model_licence import require_allowed
from faceflow.vision.onnx_header import fault_of

_RECORD = ".record"


class FileRecord(FrozenModel):
    """What is known of a file in the cache.

    Attributes:
        sha256: hash of its bytes.
        size_bytes, mtime_ns: state of the file when it was hashed; 0 where that state is gone.
        source: where it came from, without secrets.
        first_use: whether the hash was trusted because nobody published one.
    """

    sha256: str
    size_bytes: int
    mtime_ns: int
    source: str
    first_use: bool


class CacheState(StrEnum):
    """What is known of a model's files without hashing them."""

    MISSING = "missing"
    DAMAGED = "damaged"
    PRESENT = "present"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A model whose files were verified and whose licence allows its use.

    Attributes:
        entry: the catalogue's entry, of a variant where that is what is installed.
        path: the file to load.
        sha256: its hash, for keys of caches that depend on the network.
    """

    entry: ModelEntry
    path: Path
    sha256: str


class ModelCache:
    """The files of one models folder. Safe to share between threads.

    Args:
        folder: it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[Path, FileRecord] = {}

    def file_path(self, entry: ModelEntry, file: ModelFile) -> Path:
        """Where a file lies, whether it is there or not."""
        return self.folder / entry.name / file.name

    def path(self, entry: ModelEntry) -> Path:
        """The file to load, after all of the model's files were verified.

        Raises:
            ModelFileError: `model.missing`, `model.truncated`, `model.hash`, `model.not_onnx`, `model.unreadable`.
        """
        for file in entry.files:
            self.verify_file(entry, file)
        return self.file_path(entry, entry.files[0])

    def state(self, entry: ModelEntry) -> CacheState:
        """What is known without hashing anything."""
        known = [self._state(entry, file) for file in entry.files]
        order = (CacheState.MISSING, CacheState.DAMAGED, CacheState.PRESENT)
        return next((state for state in order if state in known), CacheState.VERIFIED)

    def verify_file(self, entry: ModelEntry, file: ModelFile, *, again: bool = False) -> FileRecord:
        """Compares size and hash of one file; `again` hashes even what was hashed in this state.

        Raises:
            ModelFileError: as `path`.
        """
        path = self.file_path(entry, file)
        with self._lock:  # a second thread waits and then finds it hashed
            try:
                status = path.stat()
                _check_size(entry, file, status.st_size)
                record = self.record(path)
                if record is not None and not again and _holds(record, file, status):
                    return record
                made = check(entry, file, path, record, source=record.source if record else "found in the folder")
            except FileNotFoundError as error:
                raise _missing(entry) from error
            except OSError as error:
                raise ModelFileError(
                    "model.unreadable",
                    f"The file of the model {entry.name!r}, {str(path)!r}, cannot be read: {error.strerror or error}.",
                    "Check the file's permissions and the disk.",
                    model=entry.name,
                ) from error
            self.remember(path, made)
            return made

    def record(self, path: Path) -> FileRecord | None:
        """What is known of the file `path`. The record outlives the file, so that a trusted hash holds."""
        known = self._known.get(path)
        if known is not None:
            return known
        try:
            return FileRecord.model_validate_json(read_own(_record_path(path)))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:  # as good as none: the file is hashed again
            events().warning("model.record_unreadable", path=str(path), error=str(error))
            return None

    def remember(self, path: Path, record: FileRecord) -> None:
        """Writes the record of `path`; in a read-only folder only this process remembers."""
        self._known[path] = record
        try:
            with publishing(_record_path(path)) as temporary:
                temporary.write_text(record.model_dump_json())
                temporary.chmod(0o644)
        except FaceflowError as error:
            events().info("model.record_not_written", path=str(path), reason=error.message)
        else:
            self._known.pop(path)

    def _state(self, entry: ModelEntry, file: ModelFile) -> CacheState:
        path = self.file_path(entry, file)
        try:
            status = path.stat()
        except OSError:
            return CacheState.MISSING
        if file.size_bytes not in (None, status.st_size):
            return CacheState.DAMAGED
        record = self.record(path)
        if record is None or not _holds(record, file, status):
            return CacheState.PRESENT
        return CacheState.VERIFIED


def check(entry: ModelEntry, file: ModelFile, path: Path, known: FileRecord | None, source: str) -> FileRecord:
    """Hashes `path`, which need not lie in the cache yet, and compares it with what is published or was recorded.

    Raises:
        ModelFileError: `model.truncated`, `model.hash`, `model.not_onnx`.
        OSError: the file cannot be read.
    """
    status = path.stat()
    _check_size(entry, file, status.st_size)
    found = sha256_of(path)
    expected = file.sha256 or (known.sha256 if known is not None else None)
    if expected is None:
        fault = fault_of(path) if file.name.endswith(".onnx") else None
        if fault is not None:
            raise ModelFileError(
                "model.not_onnx",
                f"The file for the model {entry.name!r} from {source} is not a usable network: {fault}.",
                "Check the content at that address, then run the same command again or import the file by hand.",
                model=entry.name,
                source=source,
            )
    elif found != expected:
        published = "in the catalogue" if file.sha256 else "recorded when it was first used"
        raise ModelFileError(
            "model.hash",
            f"The file {file.name!r} of the model {entry.name!r} from {source} differs from the one {published}.",
            f"Download it again (`faceflow models pull {entry.name}`). If the source now has another version, use "
            "your own mirror, or describe that version in your own catalogue file (FACEFLOW_MODELS__EXTRA).",
            model=entry.name,
            source=source,
            expected=expected,
            found=found,
        )
    return FileRecord(
        sha256=found,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        source=source,
        first_use=file.sha256 is None,
    )


def ready_model(name: str, settings: SwapSettings) -> ReadyModel:
    """The model `name`, or an installed variant of it, with its licence and its files checked.

    Raises:
        ModelError: `model.unknown`, `model.licence`.
        ModelFileError: as `ModelCache.path`; `model.missing` where neither it nor a variant is installed.
    """
    known = catalogue(settings)
    cache = _cache_of(settings.models_folder)
    wished = known.find(name)
    entry = next((one for one in known.variants(name) if cache.state(one) is not CacheState.MISSING), wished)
    require_allowed(entry, settings, known)
    path = cache.path(entry)
    return ReadyModel(entry, path, cache.verify_file(entry, entry.files[0]).sha256)


@lru_cache(maxsize=4)
def _cache_of(folder: Path) -> ModelCache:
    """One a process: in a read-only folder only it remembers what was hashed."""
    return ModelCache(folder)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + _RECORD)


def _holds(record: FileRecord, file: ModelFile, status: os.stat_result) -> bool:
    """Whether the record is of the file as it is now, and of the file that the catalogue means."""
    same_state = (record.size_bytes, record.mtime_ns) == (status.st_size, status.st_mtime_ns)
    return same_state and file.sha256 in (None, record.sha256)


def _check_size(entry: ModelEntry, file: ModelFile, size: int) -> None:
    if file.size_bytes is not None and size < file.size_bytes:
        raise ModelFileError(
            "model.truncated",
            f"The file {file.name!r} of the model {entry.name!r} ends after {size} of {file.size_bytes} bytes.",
            f"Run `faceflow models pull {entry.name}` to download it again.",
            model=entry.name,
            size_bytes=size,
        )
    if file.size_bytes is not None and size > file.size_bytes:
        raise ModelFileError(
            "model.hash",
            f"The file {file.name!r} of the model {entry.name!r} has {size} bytes instead of {file.size_bytes}.",
            f"Run `faceflow models pull {entry.name}` to download it again.",
            model=entry.name,
            size_bytes=size,
        )


def _missing(entry: ModelEntry) -> ModelFileError:
    return ModelFileError(
        "model.missing",
        f"The model {entry.name!r} is not installed.",
        f"Run `faceflow models pull {entry.name}`, or `faceflow models import FILE --as {entry.name}`.",
        model=entry.name,
    )
