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
            "The machine has no memory left for this job.",
            "Close other programs, raise the limit of memory (`ulimit -v`) or set "
            "FACEFLOW_PIPELINE__SEGMENTS_IN_FLIGHT=1, and run the same command again.",
        ),
    ),
    (
        frozenset({errno.EAGAIN}),
        lambda _file, _reason: ResourceError(
            "fault.too_many_processes",
            "No more processes or threads may be started.",
            "Close other programs or raise the limit of processes (`ulimit -u`), and run the same command again.",
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
            f"A file may not grow any further: {file}.",
            "Raise the limit of file sizes (`ulimit -f`), or choose a disk that takes larger files, "
            "and run the same command again.",
        ),
    ),
    (
        frozenset({errno.EMFILE, errno.ENFILE}),
        lambda _file, _reason: ResourceError(
            "fault.too_many_files",
            "No more files may be opened at once.",
            "Raise the limit of open files (`ulimit -n 4096`), and run the same command again.",
        ),
    ),
    (
        frozenset({errno.EACCES, errno.EPERM, errno.EROFS}),
        lambda file, _reason: ResourceError(
            "fault.scratch_unusable",
            f"Reading or writing is not allowed here: {file}.",
            "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders that may be written.",
        ),
    ),
    (
        frozenset({errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO, errno.ENAMETOOLONG}),
        lambda file, reason: ResourceError(
            "fault.file_odd",
            f"Something else is where faceflow keeps a file or a folder of its own: {file} ({reason}).",
            "Move it away, or set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to other folders, and run the "
            "same command again.",
        ),
    ),
    (
        frozenset({errno.ENOENT, errno.ENOTDIR}),
        lambda file, _reason: ResourceError(
            "fault.file_gone",
            f"A file is not where it was: {file}.",
            "Leave the inputs and the folders of faceflow alone while it runs, and run the same command again.",
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
        f"The operating system refused {file}: {reason}.",
        "Check the disk and the limits of this process (`faceflow doctor`), and run the same command again.",
    )
