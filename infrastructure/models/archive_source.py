"""A file inside a zip archive as a source."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from faceflow.infrastructure.models.sources import CHUNK_BYTES, Opened, SourceError


class MemberSource:
    """The member of the archive at `path` whose name, without folders, is `name`.

    Args:
        path: the archive.
        name: the member's file name.
        origin: where the archive came from, without secrets.
    """

    def __init__(self, path: Path, name: str, origin: str) -> None:
        self._path = path
        self._name = name
        self._origin = origin

    @property
    def shown(self) -> str:
        """Archive and member."""
        return f"{self._origin}#{self._name}"

    @contextmanager
    def open(self, offset: int, validator: str) -> Iterator[Opened]:
        """See `Source.open`. Always begins at the beginning."""
        del offset, validator
        try:
            with zipfile.ZipFile(self._path) as archive:
                member = next(one for one in archive.infolist() if PurePosixPath(one.filename).name == self._name)
                with archive.open(member) as file:
                    yield Opened(0, member.file_size, "", iter(lambda: file.read(CHUNK_BYTES), b""))
        except StopIteration:
            raise SourceError("the archive does not contain it", passing=False) from None
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise SourceError(f"the archive cannot be unpacked ({error})", passing=False) from error
