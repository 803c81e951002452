"""A file is there whole or not at all.

A writer writes a result under a temporary name beside the destination and renames it when it is complete and on the
disk, so that a reader, a resumed run or a second job never sees half a file. The temporary file is locked while its
writer lives; what a killed writer left behind is removed by the next writer of the same destination.

    with publishing(destination) as temporary:
        encode(temporary)

A destination that is a symbolic link stays one: the file is written where it points. Only an ordinary file can be
replaced so, and a pipe, a device or a folder is refused.

`output_error` puts the operating system's reasons into faceflow's words; every place that writes for a user
uses it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faceflow.errors import FaceflowError, OutputError, ResourceError, StoreError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_FOLDER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EEXIST})
_BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP})

_MARK, _UNPUBLISHED = ".faceflow-", ".part"


@contextmanager
def publishing(destination: Path) -> Iterator[Path]:
    """Gives a temporary path beside `destination` and renames it to that when the block ends well.

    The file exists, empty, when the block begins and has no telling ending, so name the format when encoding.
    When the block raises, the temporary file is removed and an older file at `destination` stays as it was.

    Raises:
        OutputError: `output.folder_missing`, `output.not_writable`, `output.is_directory`, `output.not_a_file`,
            `output.bad_name`.
        ResourceError: `fault.disk_full`.
        StoreError: `store.io`, any other failure of the disk.
    """
    asked = destination
    try:
        destination = written_at(asked)
        _remove_left_behind(destination)
        descriptor, temporary = _create(destination)
        try:
            yield temporary
            os.fsync(descriptor)
            temporary.replace(destination)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        _sync_folder(destination.parent)
    except OSError as error:
        raise output_error(error, destination) from error


def followed(path: Path) -> Path:
    """Where a path leads that is a symbolic link; any other path is itself, through whatever folders it goes."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def written_at(destination: Path) -> Path:
    """The file that writing to `destination` writes: itself, or where a symbolic link points.

    Raises:
        OutputError: `output.is_directory`, `output.not_a_file`.
        OSError: the name or a link on the way cannot be followed.
    """
    real = followed(destination)
    try:
        found = destination.stat()
    except FileNotFoundError:  # a new file, or a link to one
        return real
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(destination))
    # A link below /proc, as /dev/stdout is one, may lead to something that has no name any more.
    if not stat.S_ISREG(found.st_mode) or not (real.exists() and real.samefile(destination)):
        raise OutputError(
            "output.not_a_file",
            f"{str(destination)!r} is a pipe, a device or a socket; a result can only be written to an ordinary file.",
            "Use an ordinary file; when the job is done, other programs can read it from there.",
        )
    return real


def require_writable(destination: Path) -> None:
    """Tries, by making and removing an empty file, whether `publishing` could write `destination` now.

    Raises:
        OutputError, ResourceError, StoreError: as `publishing`.
    """
    real = destination
    try:
        real = written_at(destination)
        descriptor, temporary = _create(real)
        try:
            temporary.unlink()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise output_error(error, real) from error


def is_unpublished(name: str) -> bool:
    """Whether a file of this name is one that somebody is writing, and that nobody should read."""
    return name.startswith(_MARK) and name.endswith(_UNPUBLISHED)


def unpublished_name(name: str, kind: str) -> str:
    """The name of a file beside an output that is no result; listings pass over it."""
    return f"{_MARK}{name}.{kind}{_UNPUBLISHED}"


def output_error(error: OSError, destination: Path) -> FaceflowError:
    """The faceflow error for what the operating system said while writing `destination`."""
    shown = repr(str(destination))
    if error.errno in _NO_ROOM:
        return ResourceError(
            "fault.disk_full",
            f"There is not enough space to write {shown}.",
            "Free some space on that disk, or choose another one, and run the same command again.",
        )
    if error.errno in _NOT_ALLOWED or (error.errno == errno.ENOENT and destination.parent.is_dir()):
        return OutputError(
            "output.not_writable",
            f"Writing {shown} is not allowed: {_why(error)}.",
            "Choose a folder that you may write to, or change its permissions.",
        )
    if error.errno in _NO_FOLDER:
        return OutputError(
            "output.folder_missing",
            f"The folder of {shown} does not exist.",
            "Create the folder first, or choose another one.",
        )
    if error.errno == errno.EISDIR:
        return OutputError(
            "output.is_directory",
            f"{shown} is a folder.",
            "Add a file name.",
        )
    if error.errno in _BAD_NAME:
        circle = error.errno == errno.ELOOP
        return OutputError(
            "output.bad_name",
            f"The symbolic link {shown} points back to itself."
            if circle
            else f"The disk does not accept the name {shown}.",
            "Choose a shorter name without unusual characters, and not a circular link.",
        )
    return StoreError(
        "store.io",
        f"Writing {shown} failed: {error.strerror or error}.",
        "Check the disk and try again.",
    )


def _why(error: OSError) -> str:
    # What has files but takes none, as /proc and /sys, says that there is no such file.
    return "its file system does not accept files" if error.errno == errno.ENOENT else str(error.strerror or error)


def _name_key(destination: Path) -> str:
    return hashlib.sha256(os.fsencode(destination.name)).hexdigest()[:12]


def _create(destination: Path) -> tuple[int, Path]:
    """Makes and locks a temporary file. Another writer may sweep it between the two: look and try again."""
    while True:
        # Not made of the destination's own name, which may already be as long as the disk allows.
        name = f"{_MARK}{_name_key(destination)}-{secrets.token_hex(6)}{_UNPUBLISHED}"
        temporary = destination.parent / name
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks: then nothing is swept there either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)


def _remove_left_behind(destination: Path) -> None:
    """Removes temporary files of this destination whose writer no longer lives (its lock is gone)."""
    for path in destination.parent.glob(f"{_MARK}{_name_key(destination)}-*{_UNPUBLISHED}"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Makes the new name survive a power cut, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes as lower-case hex. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
