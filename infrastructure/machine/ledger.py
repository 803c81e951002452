"""The ledger of jobs on this machine: who is running which job, and what became of it.

A job is *claimed* with a kernel file lock, so a claim ends with its process, however that ends. A process that asks for
a claim that is held waits, and then finds the record of the finished job: a simultaneous duplicate attaches instead of
running twice. Finished jobs are recorded by job id, so the same command again finds its result.

    <state>/jobs/<project>/<job id>.lock      held while the job runs
    <state>/jobs/<project>/<job id>.json      what it gave
    <state>/results/<project>/<job id>/       results of its finished stages (Prefect's persisted results)
    <scratch>/jobs/<project>/<job id>/        its files in work
"""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from faceflow.errors import ResourceError
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.job import FrozenModel, SwapJob
from faceflow.log import events
from faceflow.own_files import open_lock, read_own
from faceflow.publish import publishing
from faceflow.stages.identity import JobIdentity
from faceflow.stages.place import carries_place
from faceflow.stages.results import Delivery
from faceflow.stages.upload import delivery_of

POLL_S = 0.25


class JobRecord(FrozenModel):
    """What a finished job gave."""

    job_id: str
    project: str
    delivery: Delivery
    frames: int
    faces: int
    engine: str = ""
    """The swapper that was used; where the job said `auto`, the one that was chosen."""
    seconds: float
    stages: dict[str, float]
    notes: tuple[str, ...]
    carries_place: bool | None = None
    """Whether the output was allowed to say where its target was taken; None in records of earlier versions."""
    already_done: bool = False
    """Whether an earlier run had finished the job and this one only found it; the other figures are that run's."""


class JobPlace:
    """The folders and files of one job."""

    def __init__(self, settings: SettingsWithStores, identity: JobIdentity) -> None:
        jobs = settings.paths.state / "jobs" / identity.project
        self.lock = jobs / f"{identity.job_id}.lock"
        self.record = jobs / f"{identity.job_id}.json"
        self.results = settings.paths.state / "results" / identity.project / identity.job_id
        self.scratch = settings.paths.scratch / "jobs" / identity.project / identity.job_id

    def create(self) -> None:
        """Makes the folders, readable by their owner only."""
        try:
            for folder in (self.lock.parent, self.scratch):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                "fault.scratch_unusable",
                f"The folder {str(error.filename)!r} cannot be created: {error.strerror}.",
                "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders that you can write to.",
            ) from error

    def read_record(self) -> JobRecord | None:
        """What the job gave, or None while it is not finished. One that cannot be read is as good as none: the job is
        done again and its record written anew."""
        try:
            return JobRecord.model_validate_json(read_own(self.record))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            events().warning("job.record_unreadable", path=str(self.record), reason=type(error).__name__)
            return None

    def write_record(self, record: JobRecord) -> None:
        """Keeps what the job gave. Raises as `publishing`."""
        with publishing(self.record) as temporary:
            temporary.write_text(record.model_dump_json(indent=2))

    def clear(self) -> None:
        """Removes everything that was needed only to go on: scratch files and stage results."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.results, ignore_errors=True)


def finished_record(place: JobPlace, job: SwapJob, settings: SettingsWithStores) -> JobRecord | None:
    """The job's record when its output is still where it was put, unchanged; links are made anew.

    None also where the output was made under another setting of what it may say about its target's place.
    """
    record = place.read_record()
    if record is None or record.carries_place not in (None, carries_place(job, settings.trust)):
        return None
    store, key = store_for(job.output, settings, project=record.project, job_id=record.job_id)
    stored = store.head(key)
    if stored is None or stored.sha256 != record.delivery.sha256:
        return None
    return record.model_copy(update={"delivery": delivery_of(stored)})


@asynccontextmanager
async def claim(place: JobPlace, on_wait: Callable[[float], None] | None = None) -> AsyncIterator[bool]:
    """Holds the job until the block ends; waits while another process holds it.

    Gives whether it had to wait, that is, whether the job may have been finished by somebody else meanwhile.
    """
    begun = time.monotonic()
    with _open_lock(place) as lock:
        waited = False
        while not _taken(lock):
            waited = True
            if on_wait is not None:
                on_wait(time.monotonic() - begun)
            await asyncio.sleep(POLL_S)
        yield waited


def _open_lock(place: JobPlace) -> IO[bytes]:
    place.create()
    return open_lock(place.lock)


def _taken(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_stale_work(settings: SettingsWithStores, keep_s: float) -> int:
    """Removes the work of interrupted jobs that nobody came back to for `keep_s` seconds. Returns how many.

    A job that is claimed is never touched.
    """
    removed = 0
    root = settings.paths.scratch / "jobs"
    for scratch in [path for project in _folders(root) for path in _folders(project)]:
        identity = JobIdentity(job_id=scratch.name, project=scratch.parent.name, target_sha256="", portraits_sha256=())
        place = JobPlace(settings, identity)
        if time.time() - _last_change(scratch) < keep_s:
            continue
        place.create()
        with open_lock(place.lock) as lock:
            if _taken(lock):
                place.clear()
                removed += 1
    return removed


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def _last_change(folder: Path) -> float:
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(times)
