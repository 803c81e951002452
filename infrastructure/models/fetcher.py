"""The files of models, each under its lock: found verified, or fetched, or taken from its archive."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from faceflow.errors import ModelFileError, stopped
from faceflow.infrastructure.models.addresses import addresses_of, open_sources
from faceflow.infrastructure.models.archive_source import MemberSource
from faceflow.infrastructure.models.download import Downloader, DownloadError, Wanted
from faceflow.infrastructure.models.partial import file_lock
from faceflow.infrastructure.models.sources import Source
from faceflow.infrastructure.models.watching import PullWatcher
from faceflow.log import events
from faceflow.publish import output_error
from faceflow.settings import SwapSettings
from faceflow.vision.model_cache import FileRecord, ModelCache, check
from faceflow.vision.model_catalogue import Catalogue, ModelEntry, ModelFile

LOCK_POLL_S = 0.2


class Fetcher:
    """Fetches into the models folder of `settings`. Safe to share between threads."""

    def __init__(
        self,
        settings: SwapSettings,
        known: Catalogue,
        client: httpx.Client,
        watcher: PullWatcher,
        stop: threading.Event,
    ) -> None:
        self.cache = ModelCache(settings.models_folder)
        self._models = settings.models
        self._known = known
        self._client = client
        self._watcher = watcher
        self._stop = stop
        self._downloader = Downloader(settings.models.attempts, settings.pipeline.keep_free_bytes, watcher, stop)

    def fetch(self, entry: ModelEntry) -> list[str]:
        """Sees to a model that comes by itself; gives its name where something had to be fetched.

        Raises:
            FaceflowError: it is not there, and why.
        """
        missing = [file for file in entry.files if not self.verified(entry, file)]
        fetched = [self._file(entry, file, self._addressed(file, entry.name)) for file in missing]
        return [entry.name] if any(fetched) else []

    def fetch_packed(self, archive: ModelFile, entries: Iterable[ModelEntry]) -> list[str]:
        """Sees to models that come in `archive`; gives the names of those that had to be fetched.

        A mirror may have them by themselves; only what it does not have is taken from the archive.

        Raises:
            FaceflowError: one of them is not there, and why.
        """
        missing = [(one, file) for one in entries for file in one.files if not self.verified(one, file)]
        left, fetched = [], []
        for entry, file in missing:
            addressed = self._addressed(file, entry.name)
            try:
                if not addressed:
                    left.append((entry, file))
                elif self._file(entry, file, addressed):
                    fetched.append(entry.name)
            except (DownloadError, ModelFileError) as error:
                events().info("model.not_by_itself", model=entry.name, reason=error.message)
                left.append((entry, file))
        return fetched + (self._from_archive(archive, left) if left else [])

    def unpack(self, path: Path, archive: ModelFile, origin: str) -> list[str]:
        """Takes all models of the catalogue that are not there yet out of the archive at `path`; gives their names."""
        taken = []
        for entry in self._known.entries():
            for file in entry.files:
                if file.archive == archive.name and not self.verified(entry, file):
                    source = MemberSource(path, file.name, origin)
                    if self._file(entry, file, [(source.shown, source)]):
                        taken.append(entry.name)
        return taken

    def take(self, entry: ModelEntry, file: ModelFile, source: Source) -> None:
        """Puts a file from `source` in its place, unless it is there already."""
        if not self.verified(entry, file):
            self._file(entry, file, [(source.shown, source)])

    def verified(self, entry: ModelEntry, file: ModelFile) -> bool:
        """Whether the file is there and is the one that the catalogue means."""
        try:
            self.cache.verify_file(entry, file)
        except ModelFileError:
            return False
        return True

    def _file(self, entry: ModelEntry, file: ModelFile, sources: Sequence[tuple[str, Source]]) -> bool:
        """Fetches one file; false where another process had done it meanwhile."""
        path = self.cache.file_path(entry, file)
        with self._locked(path):
            missing = not self.verified(entry, file)
            if missing:
                self._drop_bad(path)
                known = self.cache.record(path)

                def checked(partial: Path, source: str) -> FileRecord:
                    return check(entry, file, partial, known, source)

                hash_known = file.sha256 is not None or known is not None
                wanted = Wanted(file.name, path, file.size_bytes, hash_known, checked)
                self.cache.remember(path, self._fetch(entry, wanted, sources))
        self._watcher.finished(file.name)
        return missing

    def _from_archive(self, archive: ModelFile, left: Sequence[tuple[ModelEntry, ModelFile]]) -> list[str]:
        path = self.cache.folder / ".archives" / archive.name
        entry = left[0][0]

        def checked(partial: Path, source: str) -> FileRecord:
            return check(entry, archive, partial, None, source)

        with self._locked(path):
            if all(self.verified(one, file) for one, file in left):
                return []
            wanted = Wanted(archive.name, path, archive.size_bytes, archive.sha256 is not None, checked)
            record = self._fetch(entry, wanted, self._addressed(archive, ""))
            try:
                return self.unpack(path, archive, record.source)
            finally:
                path.unlink(missing_ok=True)

    def _fetch(self, entry: ModelEntry, wanted: Wanted, sources: Sequence[tuple[str, Source]]) -> FileRecord:
        if not sources and not self._models.offline:
            raise ModelFileError(
                "model.no_source",
                f"The catalogue has no source for the model {entry.name!r}, and no mirror is configured.",
                f"Import the file by hand: `faceflow models import FILE --as {entry.name}`.",
                model=entry.name,
            )
        try:
            return self._downloader.fetch(wanted, sources)
        except (DownloadError, ModelFileError) as error:
            if not self._models.offline or "reasons" not in error.fields:
                raise
            reasons = error.fields["reasons"] or ["No mirror folder is set"]
            raise ModelFileError(
                "model.offline",
                f"The model {entry.name!r} is not installed, and downloads are turned off "
                f"(FACEFLOW_MODELS__OFFLINE). {'. '.join(reasons)}.",
                f"Import the file with `faceflow models import FILE --as {entry.name}`, or set "
                "FACEFLOW_MODELS__MIRROR to a folder that holds it.",
                model=entry.name,
            ) from error

    def _addressed(self, file: ModelFile, folder: str) -> list[tuple[str, Source]]:
        return open_sources(addresses_of(file, folder, self._models), self._client, self._models)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        make_folder(path.parent)
        try:
            with file_lock(path, lambda: self._wait(path.name)):
                yield
        except OSError as error:
            raise output_error(error, path) from error

    def _wait(self, name: str) -> None:
        self._watcher.waiting(name)
        if self._stop.wait(LOCK_POLL_S):
            raise stopped()

    def _drop_bad(self, path: Path) -> None:
        """A bad file is of no use to anybody; nothing under a good name may be bad."""
        if path.exists():
            events().warning("model.bad_file_removed", path=str(path))
            path.unlink()


def make_folder(folder: Path) -> None:
    """Makes the folder where it is not there. Raises `OutputError` and the like."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from error
