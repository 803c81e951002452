"""What the operating system refuses, in faceflow's words, wherever it was met.

Places that know what they were about say it themselves (`output_error`, `input_error`). What they leave over, a limit
of the process or a disk that fails in the middle of something, is put into words here: a fault of the machine, with a
code, and not one of the program.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from faceflow.errors import FaceflowError, ResourceError

_WORDS: tuple[tuple[frozenset[int], Callable[[str, str], ResourceError]], ...] = (
    (
        frozenset({errno.ENOMEM}),
        lambda _file, _reason: ResourceError(
            "fault.out_of_memory",
            "The machine does not have enough free memory for this job.",
            "Close other programs, raise the memory limit (`ulimit -v`) or set "
            "FACEFLOW_PIPELINE__SEGMENTS_IN_FLIGHT=1, and run the same command again.",
        ),
    ),
    (
        frozenset({errno.EAGAIN}),
        lambda _file, _reason: ResourceError(
            "fault.too_many_processes",
            "The limit of processes or threads has been reached.",
            "Close other programs or raise the process limit (`ulimit -u`), and run the same command again.",
        ),
    ),
    (
        frozenset({errno.ENOSPC, errno.EDQUOT}),
        lambda file, _reason: ResourceError(
            "fault.disk_full",
            f"No space is left on the device that holds {file}.",
            "Free some space, or set FACEFLOW_PATHS__SCRATCH to a larger disk, and run the same command again.",
        ),
    ),
    (
        frozenset({errno.EFBIG}),
        lambda file, _reason: ResourceError(
            "fault.file_too_large",
            f"{file} has reached the maximum file size.",
            "Raise the file size limit (`ulimit -f`), or use a disk that supports larger files, and run the same "
            "command again.",
        ),
    ),
    (
        frozenset({errno.EMFILE, errno.ENFILE}),
        lambda _file, _reason: ResourceError(
            "fault.too_many_files",
            "Too many files are open.",
            "Raise the limit of open files (`ulimit -n 4096`), and run the same command again.",
        ),
    ),
    (
        frozenset({errno.EACCES, errno.EPERM, errno.EROFS}),
        lambda file, _reason: ResourceError(
            "fault.scratch_unusable",
            f"Permission denied: {file}.",
            "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders that you can write to.",
        ),
    ),
    (
        frozenset({errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO, errno.ENAMETOOLONG}),
        lambda file, reason: ResourceError(
            "fault.file_odd",
            f"Another file or folder is in the place of one of faceflow's own: {file} ({reason}).",
            "Move it away, or set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to other folders, and run the "
            "same command again.",
        ),
    ),
    (
        frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}),
        lambda file, _reason: ResourceError(
            "fault.no_locks",
            f"The file system of {file} knows no locks, by which faceflow sees who is at work.",
            "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders on a local disk.",
        ),
    ),
    (
        frozenset({errno.ENOENT, errno.ENOTDIR}),
        lambda file, _reason: ResourceError(
            "fault.file_gone",
            f"{file} has disappeared.",
            "Do not change the inputs or faceflow's folders while it runs, and run the same command again.",
        ),
    ),
)


def fault_of_machine(error: BaseException) -> FaceflowError | None:
    """The error for what the machine could not do, or None where `error` is something else."""
    if isinstance(error, MemoryError):
        return _fault(errno.ENOMEM)
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _fault(errno.EAGAIN)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError) and error.errno is not None:
        return _fault(error.errno, error.filename, error.strerror)
    return None


def _fault(number: int, filename: object = None, reason: str | None = None) -> ResourceError:
    put = next((words for numbers, words in _WORDS if number in numbers), _refused)
    return put("a file of faceflow" if filename is None else repr(str(filename)), reason or f"error {number}")


def _refused(file: str, reason: str) -> ResourceError:
    return ResourceError(
        "fault.system",
        f"The operating system denied access to {file}: {reason}.",
        "Check the disk and the limits of this process (`faceflow doctor`), and run the same command again.",
    )
