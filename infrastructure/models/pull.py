"""Many models side by side: what is missing of them and of all that they need is fetched, the rest is verified.

Every file has its own lock, so pulls of any number of processes and machines share one folder: the second waits and
then finds the file there. A model that fails does not keep the others from arriving.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from faceflow.errors import FaceflowError, stopped
from faceflow.infrastructure.models.download import require_room
from faceflow.infrastructure.models.fetcher import Fetcher, make_folder
from faceflow.infrastructure.models.http_source import http_client
from faceflow.infrastructure.models.watching import EventWatcher, PullWatcher
from faceflow.settings import SwapSettings
from faceflow.vision.model_cache import CacheState, ModelCache
from faceflow.vision.model_catalogue import Catalogue, ModelEntry, catalogue
from faceflow.vision.model_licence import require_allowed

_END_S = 3.0
"""How long downloads have to end by themselves when the pull is broken off."""


@dataclass
class PullReport:
    """What became of every model, by name.

    Attributes:
        pulled: was fetched.
        present: was there already, verified.
        failed: is not there, and why.
    """

    pulled: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    failed: dict[str, FaceflowError] = field(default_factory=dict)

    def require_complete(self) -> None:
        """Raises the reason of the first failure, with the names of all models that failed."""
        names = sorted(self.failed)
        for error in self.failed.values():
            if len(names) == 1:
                raise error
            message = f"{error.message} {len(names)} models failed: {', '.join(names)}."
            raise type(error)(error.code, message, error.resolution, **{**error.fields, "failed": names}) from error


def pull(
    names: Iterable[str],
    settings: SwapSettings,
    *,
    needs: bool = True,
    known: Catalogue | None = None,
    watcher: PullWatcher | None = None,
    stop: threading.Event | None = None,
) -> PullReport:
    """Sees to it that the models `names` and all that they need are in the models folder, verified.

    Args:
        names: models of the catalogue. settings: folder, mirror, licence policy and limits. needs: whether what the
        models need comes with them. known: the catalogue; that of this process where none is given. watcher: hears
        about every file; the event log where none is given. stop: set from outside to break off; what has come so far
        stays and is gone on with.

    Raises:
        ModelError: `model.unknown`, `model.licence`, `model.mirror_invalid`, before anything is fetched.
        ResourceError: `fault.disk_full`, before anything is fetched where the sizes are known.
        OutputError: the models folder cannot be made.
        CancelledError: `stop` was set, or Ctrl-C.
    """
    known = known or catalogue(settings)
    stop = stop or threading.Event()
    names = tuple(names)
    entries = _wanted(names, known, settings) if needs else tuple(map(known.find, dict.fromkeys(names)))
    for name in names:
        require_allowed(known.find(name), settings, known)
    _require_room(entries, settings, known)
    with http_client(settings.models.silence_s) as client:
        fetcher = Fetcher(settings, known, client, watcher or EventWatcher(), stop)
        return _run(fetcher, entries, known, settings.models.parallel, stop)


def _wanted(names: Collection[str], known: Catalogue, settings: SwapSettings) -> tuple[ModelEntry, ...]:
    """The models and what they need; a variant that is installed already stands in for what is only needed."""
    cache = ModelCache(settings.models_folder)
    found = {}
    for entry in known.with_needs(names):
        variants = [] if entry.name in names else list(known.variants(entry.name))
        installed = (one for one in variants if cache.state(one) in (CacheState.PRESENT, CacheState.VERIFIED))
        chosen = next(installed, entry) if entry.files else entry
        found[chosen.name] = chosen
    return tuple(found.values())


def _require_room(entries: Iterable[ModelEntry], settings: SwapSettings, known: Catalogue) -> None:
    """Says early that the files, as far as their sizes are known, do not fit."""
    cache = ModelCache(settings.models_folder)
    missing = [one for one in entries if cache.state(one) in (CacheState.MISSING, CacheState.DAMAGED)]
    archives = {file.archive for entry in missing for file in entry.files if file.archive is not None}
    needed = sum(file.size_bytes or 0 for entry in missing for file in entry.files)
    needed += sum(known.archives[name].size_bytes or 0 for name in archives)
    if needed:
        make_folder(cache.folder)
        require_room(cache.folder, needed, settings.pipeline.keep_free_bytes)


def _run(
    fetcher: Fetcher, entries: Iterable[ModelEntry], known: Catalogue, parallel: int, stop: threading.Event
) -> PullReport:
    report = PullReport()
    jobs: dict[Future[list[str]], list[ModelEntry]] = {}
    packed: dict[str, list[ModelEntry]] = defaultdict(list)
    threads = ThreadPoolExecutor(parallel, thread_name_prefix="pull")
    try:
        for entry in entries:
            archive = next((file.archive for file in entry.files if file.archive), None)
            if archive is not None:
                packed[archive].append(entry)
            elif entry.files:
                jobs[threads.submit(fetcher.fetch, entry)] = [entry]
        for name, members in packed.items():
            jobs[threads.submit(fetcher.fetch_packed, known.archives[name], members)] = members
        for job, members in jobs.items():
            _note(report, job, members, fetcher, stop)
    except KeyboardInterrupt:
        raise stopped() from None
    finally:
        stop.set()
        wait(jobs, _END_S)  # one that hears nothing from its source hears nothing of the end either
        threads.shutdown(wait=False, cancel_futures=True)
    return report


def _note(
    report: PullReport, job: Future[list[str]], members: list[ModelEntry], fetcher: Fetcher, stop: threading.Event
) -> None:
    error = job.exception()
    if error is not None and (stop.is_set() or not isinstance(error, FaceflowError)):
        raise error
    for entry in members:
        if error is None:
            (report.pulled if entry.name in job.result() else report.present).append(entry.name)
        elif not all(fetcher.verified(entry, file) for file in entry.files):
            report.failed[entry.name] = error
        else:
            report.present.append(entry.name)
