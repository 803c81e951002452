"""Standard input, output and error as a program finds them: closed, full, a pipe that nobody reads, or a terminal.

The answer of a command goes to standard output, and a command whose answer did not arrive must say so in its exit
code: `answer_stream` raises `fault.not_printed` once and takes the rest silently, so that the interpreter has nothing
left to complain about at its end. What goes to standard error is said on the way and never worth a job:
`remark_stream` takes everything, whether it can be written or not. A descriptor that was closed (`>&-`) is taken by
something that fails as a closed one does, because the next file that is opened would get its number.

A name that is not UTF-8 is written as the bytes that it has (Python holds them as lone surrogates); any other character
that the terminal's encoding lacks is written as an escape.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from typing import Any, TextIO

from faceflow.errors import AnswerError

NAMES = "faceflow.names"
"""The error handler of our streams, by the name that `codecs` knows it under."""


def open_closed_descriptors() -> None:
    """Opens what of the descriptors 0, 1 and 2 is closed: writing to 1 fails as before, what goes to 2 is lost."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stderr is None:
        sys.stderr = remark_stream(2)


def answer_stream(encoding: str | None = None) -> TextIO:
    """Standard output, which raises `AnswerError` where it cannot be written.

    Args:
        encoding: instead of the one that Python chose.
    """
    return _text(_Answer(1, "w", closefd=False), encoding or getattr(sys.stdout, "encoding", None))


def remark_stream(descriptor: int) -> TextIO:
    """A descriptor for remarks, which takes everything, written or not. Closing the stream closes it."""
    return _text(_Remarks(descriptor, "w"), getattr(sys.stderr, "encoding", None), line_buffering=True)


def _text(raw: io.FileIO, encoding: str | None, *, line_buffering: bool = False) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding or "utf-8",
        errors=NAMES,
        line_buffering=line_buffering or raw.isatty(),
    )


class _Patient(io.FileIO):
    """A file that waits where its other end is slow, though somebody has made it non-blocking, as some programs do
    with the terminal that they share with us."""

    def write(self, data: Any, /) -> int:
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written


class _Answer(_Patient):
    """Standard output. After its first failure it takes everything."""

    _failed = False

    def write(self, data: Any, /) -> int:
        if self._failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            reason = AnswerError(
                "fault.not_printed",
                f"The answer could not be printed: {error.strerror or error}.",
                "The command itself has finished. Run it again with its output going to a terminal or a writable "
                "file; a finished job is not repeated.",
            )
            reason.nobody_reads = isinstance(error, BrokenPipeError)
            raise reason from error


class _Remarks(_Patient):
    """Standard error."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:  # nobody can be told, and the work goes on
            return len(data)


def _as_given(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written = bytearray()
    for character in error.object[error.start : error.end]:
        point = ord(character)
        if 0xDC80 <= point <= 0xDCFF:  # a byte of a name, see PEP 383
            written.append(point - 0xDC00)
        else:
            written += character.encode("ascii", "backslashreplace")
    return bytes(written), error.end


codecs.register_error(NAMES, _as_given)
