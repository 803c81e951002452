"""A file that is not completely here yet, and the lock of its downloader.

.<file>.part         the bytes so far; a killed download leaves them, and the next one goes on from there
.<file>.part.json    which source they came from, and that source's validator
.<file>.lock         held by the one who fetches; the kernel lets go of it when that process dies, however it dies
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from faceflow.errors import ModelFileError
from faceflow.job import FrozenModel
from faceflow.own_files import open_lock, read_own

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


class Origin(FrozenModel):
    """Where the bytes of a partial file came from. The address is kept as a hash: it may hold secrets."""

    address: str
    validator: str


class Partial:
    """The bytes so far of the file `destination`. The caller holds the file's lock. Methods raise OSError."""

    def __init__(self, destination: Path) -> None:
        self.path = destination.with_name(f".{destination.name}.part")
        self._note = destination.with_name(f".{destination.name}.part.json")
        self._file: IO[bytes] | None = None
        self.size_bytes = self.path.stat().st_size if self.path.is_file() else 0

    def resume(self, address: str, *, any_source: bool) -> tuple[int, str]:
        """From which byte to go on with this source, and the validator under which; (0, "") to begin anew.

        Args:
            address: the source's.
            any_source: whether the whole file is checked against a known hash in the end, so that bytes of another
                source, or of one that gives no validator, may stand.
        """
        origin = self._origin()
        if origin is None or not self.size_bytes:
            return 0, ""
        if origin.address == _digest(address) and origin.validator:
            return self.size_bytes, origin.validator
        return (self.size_bytes, "") if any_source else (0, "")

    @contextmanager
    def writing(self, start: int, address: str, validator: str) -> Iterator[Callable[[bytes], None]]:
        """Gives the function that appends; what lies after `start` is dropped."""
        with self.path.open("r+b" if self.path.exists() else "x+b") as file:
            file.truncate(start)
            file.seek(start)
            self.size_bytes = start
            self._note.write_text(Origin(address=_digest(address), validator=validator).model_dump_json())

            def append(chunk: bytes) -> None:
                file.write(chunk)
                self.size_bytes += len(chunk)

            yield append

    def publish(self, destination: Path) -> None:
        """Gives the complete file its name, once it is on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(destination)
        self._note.unlink(missing_ok=True)
        self.size_bytes = 0
        descriptor = os.open(destination.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system that cannot sync folders
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Drops the bytes."""
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)
        self.size_bytes = 0

    def _origin(self) -> Origin | None:
        try:
            return Origin.model_validate_json(read_own(self._note))
        except (FileNotFoundError, ValidationError):  # the process was killed between the two files
            return None


@contextmanager
def file_lock(destination: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Holds the lock of `destination`; while another process has it, `wait` is called again and again.

    Raises:
        ModelFileError: `model.no_locks`.
        OSError: the lock file cannot be made.
    """
    with open_lock(destination.with_name(f".{destination.name}.lock")) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait()
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                raise ModelFileError(
                    "model.no_locks",
                    f"The file system of {str(destination.parent)!r} does not support locks, so models cannot be "
                    "downloaded to it.",
                    "Set FACEFLOW_MODELS__FOLDER to a local disk or an NFS share, or fill the folder elsewhere.",
                ) from error
        yield


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()
