"""Inputs that lie in stores: brought into scratch, checked, and removed when nobody needs them any more.

    <scratch>/inputs/<key>/<name>      the file; `key` is made of its address
    <scratch>/inputs/<key>.lock        held, shared, by everybody who works with it

Two jobs with the same target fetch it once. A run that was killed leaves its inputs to the next one, which asks the
store whether they are still the same.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from faceflow.errors import InputError, JobError, OutputError, ResourceError
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.job import Sensitivity, SwapJob
from faceflow.locations import in_store, name_of
from faceflow.log import events
from faceflow.own_files import open_lock
from faceflow.progress import SILENT, Progress
from faceflow.publish import sha256_of
from faceflow.stages.preflight import inputs_of
from faceflow.zones import require_pool_zone, require_zone


@asynccontextmanager
async def inputs_here(job: SwapJob, settings: SettingsWithStores) -> AsyncIterator[SwapJob]:
    """`local_inputs` for a flow: fetched in a thread, which a cancelled flow ends at its next piece."""
    stop = threading.Event()
    inputs = local_inputs(job, settings, Progress(stop=stop))
    try:
        local_job = await asyncio.to_thread(inputs.__enter__)
    except BaseException:
        stop.set()
        raise
    try:
        yield local_job
    except BaseException as error:
        await asyncio.to_thread(inputs.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(inputs.__exit__, None, None, None)


@contextmanager
def local_inputs(job: SwapJob, settings: SettingsWithStores, progress: Progress = SILENT) -> Iterator[SwapJob]:
    """The job with every input as a file on this machine, until the block ends.

    The zones of this machine and of the stores are asked, and sizes are compared with the limits, before a byte is
    read. What was fetched is removed, except after an interruption or a fault, from which the same command goes on.

    Raises:
        TrustError: `trust.zone`.
        JobError: `job.input_missing`, `job.input_too_large`, and as `store_for`.
        OutputError: `output.is_input`.
        StoreError, StoreSetupError, ResourceError: as `Store.get`.
    """
    remote = list(dict.fromkeys(filter(in_store, inputs_of(job))))
    if not remote:
        yield job
        return
    require_pool_zone(job.sensitivity, settings.pool.zone, settings.pool.name)
    if job.output in remote:
        raise OutputError(
            "output.is_input",
            f"The output {job.output!r} is one of the inputs and would overwrite it.",
            "Choose another name for the output.",
        )
    folders = {location: _folder_of(location, settings) for location in remote}
    keep = True
    try:
        with ExitStack() as stack:
            for location, folder in folders.items():
                stack.enter_context(_held(folder))
                _fetch(location, folder, job.sensitivity, settings, progress)
            yield _with_files(job, {location: str(_file(location, folder)) for location, folder in folders.items()})
        keep = False
    except InputError:
        keep = False
        raise
    finally:
        if not keep:
            _remove(folders.values())


def remove_stale_inputs(settings: SettingsWithStores, keep_s: float) -> int:
    """Removes fetched inputs that nobody came back to for `keep_s` seconds and nobody holds. Returns how many."""
    removed = 0
    for folder in [path for path in _root(settings).glob("*") if path.is_dir()]:
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < keep_s:
                continue
            with open_lock(_lock_of(folder)) as lock:
                removed += _removed_alone(folder, lock.fileno())
    return removed


def _fetch(
    location: str, folder: Path, sensitivity: Sensitivity, settings: SettingsWithStores, progress: Progress
) -> None:
    store, key = store_for(location, settings)
    require_zone(sensitivity, store.zone, store.name)
    size = store.size_bytes(key)
    if size is None:
        raise JobError("job.input_missing", f"There is no object at {location!r}.", "Check the address.")
    if size > settings.limits.max_size_bytes:
        raise JobError(
            "job.input_too_large",
            f"{location!r} has {size} bytes; the limit is {settings.limits.max_size_bytes}.",
            "Shorten or compress it, or raise FACEFLOW_LIMITS__MAX_SIZE_BYTES.",
            size_bytes=size,
        )
    path = _file(location, folder)
    with open_lock(folder / ".fetching") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # a process that comes at the same time finds it done
        if path.is_file() and path.stat().st_size == size:
            stored = store.head(key)
            if stored is not None and stored.sha256 == sha256_of(path):
                events().info("input.found", input=location)
                return
        stored = store.get(key, path, watch=lambda _bytes: progress.check())
    events().info("input.fetched", input=location, size_bytes=stored.size_bytes, sha256=stored.sha256)


def _with_files(job: SwapJob, files: dict[str, str]) -> SwapJob:
    def local(location: str) -> str:
        return files.get(location, location)

    sources = tuple(
        source.model_copy(update={"portraits": tuple(map(local, source.portraits))}) for source in job.sources
    )
    face_map = tuple(
        mapping if mapping.reference is None else mapping.model_copy(update={"reference": local(mapping.reference)})
        for mapping in job.face_map
    )
    return job.model_copy(update={"target": local(job.target), "sources": sources, "face_map": face_map})


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder of an input, made and held so that nobody removes it."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _open_shared(_lock_of(folder))
    except OSError as error:
        raise ResourceError(
            "fault.scratch_unusable",
            f"The folder {str(error.filename)!r} cannot be created: {error.strerror}.",
            "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders that you can write to.",
        ) from error
    with lock:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.utime(folder)
        yield


def _open_shared(path: Path) -> IO[bytes]:
    """The lock file, held; the process that removed the input may have removed the file between the two: look and try
    again."""
    while True:
        lock = open_lock(path)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError), open_lock(_lock_of(folder)) as lock:
            _removed_alone(folder, lock.fileno())


def _removed_alone(folder: Path, lock: int) -> bool:
    """Removes the folder where nobody holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)
    return True


def _folder_of(location: str, settings: SettingsWithStores) -> Path:
    return _root(settings) / hashlib.sha256(location.encode()).hexdigest()[:32]


def _root(settings: SettingsWithStores) -> Path:
    return settings.paths.scratch / "inputs"


def _lock_of(folder: Path) -> Path:
    return folder.with_suffix(".lock")


def _file(location: str, folder: Path) -> Path:
    return folder / name_of(location)[-200:]
