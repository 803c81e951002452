"""Files that faceflow keeps for itself (locks, records, logs), opened without waiting for whatever lies in their place.

A folder for state is shared, restored from backups and mounted over: a pipe, a device or a socket of the same name
turns up there. Opening a named pipe waits for its other end for ever, and a command that waits for nothing says
nothing. So what is no ordinary file is refused like a folder is, and `machine_faults` has the words (`fault.file_odd`).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

_FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_lock(path: Path) -> IO[bytes]:
    """The file, made where there is none, to be locked. Nothing is read from it or written to it.

    Raises:
        OSError: it cannot be opened, or is no ordinary file.
    """
    return _opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, "ab")


def open_existing(path: Path) -> IO[bytes]:
    """The file, to be read or to see whether it is locked. Raises OSError as `open_lock`, and where there is none."""
    return _opened(path, os.O_RDONLY, "rb")


def open_log(path: Path) -> IO[bytes]:
    """The file, emptied, for what a program of ours says. Raises OSError as `open_lock`."""
    return _opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "wb")


def read_own(path: Path) -> bytes:
    """The whole content of a record. Raises OSError as `open_lock`, and where there is none."""
    with open_existing(path) as file:
        return file.read()


def require_ordinary(path: Path) -> None:
    """That what is there, if anything, is an ordinary file. Raises OSError as `open_lock`."""
    try:
        _require(path, path.stat())
    except FileNotFoundError:
        return


def _opened(path: Path, flags: int, mode: str) -> IO[bytes]:
    descriptor = os.open(path, flags | _FLAGS, 0o666)
    try:
        _require(path, os.fstat(descriptor))
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise


def _require(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ENXIO, "it is a pipe, a device or a socket", str(path))
