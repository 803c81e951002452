"""One job at a time writes an output: the second one is refused while the first is at work, instead of after it.

A claim is a kernel file lock, so it ends with its process, however that ends. Its file lies beside the output, where
everybody who can write there meets it: other state folders, other users, containers that share the folder, and other
machines where the file system passes locks on (NFS 4, CephFS). It bears the output's own name, so that a file system
which takes `A.mp4` and `a.mp4` for one file does the same with their claims. Outputs in a bucket are claimed in the
state folder: jobs that share it see each other; of others, on this machine or not, the later upload stays.

    <folder>/.faceflow-<name>.claim.part      held while the job runs, removed when it ends
    <state>/outputs/<key>.claim.part          for an object in a bucket

Where a file system knows no locks, nothing is claimed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faceflow.errors import OutputError
from faceflow.infrastructure.stores.object_store import ObjectStore
from faceflow.infrastructure.stores.resolve import store_for
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.publish import output_error, unpublished_name
from faceflow.stages.identity import JobIdentity
from faceflow.store import FolderStore

_LONGEST_NAME_BYTES = 200
_HOLDER_BYTES = 400


@contextmanager
def output_claimed(output: str, identity: JobIdentity, settings: SettingsWithStores) -> Iterator[None]:
    """Holds the place `output` for one job until the block ends. The same job on another machine may hold it too.

    Raises:
        OutputError: `output.in_use`, naming the job that holds it; as `publishing`, where nothing can be written there.
        JobError, StoreSetupError: as `store_for`.
    """
    file = _claim_file(output, identity, settings)
    try:
        descriptor, holder = _taken(file, f"{identity.job_id} {os.getpid()} {platform.node()}")
    except OSError as error:
        raise output_error(error, file) from error
    if descriptor is None:
        job_id, process, machine = (*holder.split(maxsplit=2), "", "", "")[:3]
        if holder and job_id != identity.job_id:
            raise OutputError(
                "output.in_use",
                f"Another job ({job_id}, process {process} on {machine}) is writing {output!r}.",
                "Wait until that job is done, or choose another name for the output.",
                job_id=job_id,
            )
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # another user's, which a killed job left behind
            file.unlink(missing_ok=True)
        os.close(descriptor)


def _claim_file(output: str, identity: JobIdentity, settings: SettingsWithStores) -> Path:
    store, key = store_for(output, settings, project=identity.project, job_id=identity.job_id)
    if isinstance(store, FolderStore):
        path = store.file_of(key)
        store.make_folder_of(path)
        return path.parent / unpublished_name(_short(path.name), "claim")
    address = store.uri_of(key) if isinstance(store, ObjectStore) else f"{store.name}/{key}"
    folder = settings.paths.state / "outputs"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder / "claim") from error
    return folder / unpublished_name(_digest(address), "claim")


def _short(name: str) -> str:
    return name if len(os.fsencode(name)) <= _LONGEST_NAME_BYTES else _digest(name)


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:24]


def _taken(file: Path, holder: str) -> tuple[int | None, str]:
    """The descriptor of the lock and nothing, or None and who holds it; nobody, where there are no locks."""
    while True:
        descriptor = _opened(file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Who has just taken it writes that down in the next moment.
            said = os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace")
            os.close(descriptor)
            return None, said or "unknown unknown this machine"
        except OSError:
            os.close(descriptor)
            return None, ""
        if _is_still(file, descriptor):
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, holder.encode(), 0)
            return descriptor, ""
        os.close(descriptor)


def _opened(file: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(file, flags | os.O_RDWR, 0o644)
    except PermissionError:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _is_still(file: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that has the name; its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
