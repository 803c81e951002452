"""Lists, rules and other small files that a user names: opened without waiting, and no larger than such a file can be.

Opening a named pipe waits for its other end forever, and a device or a sparse file has more bytes than the memory
holds. A pipe that a shell has connected (`<(command)`, `/dev/stdin`) has no name of its own and is read to its end.
What is refused is an OSError like any other, so that each reader tells it in its own words.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MOST_BYTES = 256 * 2**20
"""A manifest of a million jobs is about so large."""


def open_given(path: Path, most_bytes: int = MOST_BYTES) -> BufferedReader:
    """The file, open for reading.

    Raises:
        OSError: it cannot be opened, is a pipe with a name, a device or a socket, or is larger than `most_bytes`.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "its name contains a NUL character")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_bounded(path, os.fstat(descriptor), most_bytes)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_given(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of the file.

    Raises:
        OSError: as `open_given`.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_given(path, most_bytes) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))
    return content.decode()


def _require_bounded(path: Path, found: os.stat_result, most_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not (stat.S_ISREG(found.st_mode) or (stat.S_ISFIFO(found.st_mode) and _has_no_name(path))):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a socket", str(path))
    if found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", str(path))


def _has_no_name(path: Path) -> bool:
    return not os.path.exists(os.path.realpath(path))  # noqa: PTH110 - `/proc/7/fd/pipe:[42]` is no path that exists
