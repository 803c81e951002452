"""A file on this machine or a mounted share as a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from faceflow.infrastructure.models.sources import CHUNK_BYTES, Opened, SourceError


class FolderSource:
    """The file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def shown(self) -> str:
        """The path."""
        return str(self._path)

    @contextmanager
    def open(self, offset: int, validator: str) -> Iterator[Opened]:
        """See `Source.open`."""
        try:
            file = self._path.open("rb")
            status = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError("it does not exist", passing=False) from None
        except OSError as error:
            raise SourceError(f"it cannot be opened: {error.strerror or error}", passing=False) from error
        state = f"{status.st_size}-{status.st_mtime_ns}"
        start = offset if validator in ("", state) and offset <= status.st_size else 0
        with file:
            file.seek(start)
            yield Opened(start, status.st_size, state, _chunks(file))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            chunk = file.read(CHUNK_BYTES)
        except OSError as error:  # a share that went away
            raise SourceError(f"it cannot be read: {error.strerror or error}", passing=True) from error
        if not chunk:
            return
        yield chunk
