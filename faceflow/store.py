"""Where bytes are kept: the protocol of a store, its zone label, and the plain folder.

Other stores (S3 and compatible, Azure Blob, GCS) stand in `infrastructure/stores`; whoever holds a
`Store` need not know which. A store refuses media that its zone may not hold: the last of the three checks that
keep private faces in.

A key is a relative path with `/`, such as `project/job/result.mp4`. A store derives the content type from the
key's ending and keeps the checksum beside the bytes in its own way (object metadata there, the bytes themselves
in a folder), so that neither has to be in the protocol.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from faceflow.errors import OutputError, ResourceError, StoreError
from faceflow.job import FrozenModel, Sensitivity
from faceflow.locations import portable
from faceflow.publish import is_unpublished, output_error, publishing, sha256_of
from faceflow.zones import Zone, require_zone

_CHUNK_BYTES = 1 << 20


class StoredObject(FrozenModel):
    """What a store holds under a key.

    `uri` names the object for programs (`file:///...`, `s3://bucket/key`); `link` is what a person opens: a path, or an
    address that is valid until `link_expires_at` (None: forever). Such an address opens the object for all who have it,
    so it is shown and never logged. `sha256` is in lower-case hexadecimal.
    """

    uri: str
    link: str
    size_bytes: int
    sha256: str
    link_expires_at: datetime | None = None


Watcher = Callable[[int], None]
"""Told how many more bytes have arrived. What it raises ends the transfer; the store stays as it was."""


class Store(Protocol):
    """A place for finished files. Calls block; an object appears whole or not at all.

    Every method may raise `StoreError` (retryable) when the store does not answer, `StoreSetupError` when it does not
    accept our credentials as configured, and `OutputError` with `output.outside_store` for a key that is empty,
    absolute or leads outside.
    """

    @property
    def name(self) -> str:
        """How messages call this store."""
        ...

    @property
    def zone(self) -> Zone:
        """How far the owner of the media trusts this place."""
        ...

    def put(
        self, local: Path, key: str, sensitivity: Sensitivity, *, sha256: str, watch: Watcher | None = None
    ) -> StoredObject:
        """Stores the file `local` under `key`, replacing what was there.

        After a failure or a killed process the same call goes on with what had arrived, where the service keeps it.

        Raises:
            TrustError: `trust.zone`, before any byte is read.
            StoreError: `store.checksum`, when the stored bytes do not have the checksum `sha256`.
            OutputError, ResourceError: as `faceflow.publish.publishing`.
        """
        ...

    def get(self, key: str, local: Path, *, sha256: str | None = None, watch: Watcher | None = None) -> StoredObject:
        """Writes the object to the file `local` and checks it against `sha256`, or else the checksum kept beside it.

        Raises:
            StoreError: `store.missing` or `store.checksum`.
            OutputError, ResourceError: as `faceflow.publish.publishing`, for `local`.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """What is stored under `key`, or None. Where no checksum is kept beside it, the whole object is read."""
        ...

    def size_bytes(self, key: str) -> int | None:
        """Size of the object, or None where there is none. Asks only, whatever the object's size."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object. One that is not there is no error."""
        ...

    def keys(self, prefix: str, sensitivity: Sensitivity) -> Iterator[str]:
        """The keys of all objects below `prefix`, as below a folder; below an empty one, of all that there are.

        Pages are asked for as they are needed, so the memory does not grow with the number of objects. The order is the
        service's own and stays the same while nothing changes: most services list by the bytes of the keys, some folder
        by folder. What comes or goes meanwhile may be in it or not.

        Raises:
            TrustError: `trust.zone`, before anything is asked: names of media may tell who is seen there.
        """
        ...


class FolderStore:
    """A folder as a store. Folders inside it are made as keys need them; the root must be there.

    Args:
        root: the folder.
        zone: trust zone of the disk it lies on.
        keep_free_bytes: room that must stay free on that disk after a `put`.
    """

    def __init__(self, root: Path, zone: Zone, *, keep_free_bytes: int = 0) -> None:
        self._root = root
        self._zone = zone
        self._keep_free_bytes = keep_free_bytes

    @property
    def name(self) -> str:
        """The folder's path."""
        return f"folder {str(self._root)!r}"

    @property
    def zone(self) -> Zone:
        """As given."""
        return self._zone

    def put(
        self, local: Path, key: str, sensitivity: Sensitivity, *, sha256: str, watch: Watcher | None = None
    ) -> StoredObject:
        """See `Store.put`. The checksum is taken from the written copy, not from the source."""
        require_zone(sensitivity, self._zone, self.name)
        destination = self.file_of(key)
        size = file_size(local, "store.source_missing")
        self.make_folder_of(destination)
        self._require_room(size, destination)
        _copy(local, destination, sha256, watch)
        return _stored(destination, size, sha256)

    def file_of(self, key: str) -> Path:
        """The file that a `put` under `key` writes; where a link points, which must lie inside.

        Raises:
            OutputError: `output.outside_store`, `output.bad_name`.
        """
        path = self._path(key, writing=True)
        try:
            return self._path(key).resolve() if path.is_symlink() else path
        except OSError as error:  # a name that the disk refuses
            raise output_error(error, path) from error

    def make_folder_of(self, destination: Path) -> None:
        """Makes the folders of a file inside the root. Raises as `put`."""
        self._require_root(destination)
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(error, destination) from error

    def get(self, key: str, local: Path, *, sha256: str | None = None, watch: Watcher | None = None) -> StoredObject:
        """See `Store.get`."""
        path = self._path(key)
        size = file_size(path, "store.missing")
        return _stored(path, size, _copy(path, local, sha256, watch))

    def head(self, key: str) -> StoredObject | None:
        """See `Store.head`. Reads the whole file, because a folder remembers no checksum."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file:  # size and checksum of one file, even if it is replaced meanwhile
                size = os.fstat(file.fileno()).st_size
                return _stored(path, size, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise unreadable(path, error) from error

    def size_bytes(self, key: str) -> int | None:
        """See `Store.size_bytes`."""
        path = self._path(key)
        return file_size(path, "store.missing") if path.is_file() else None

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key, writing=True)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(error, path) from error

    def keys(self, prefix: str, sensitivity: Sensitivity) -> Iterator[str]:
        """See `Store.keys`. By the code points of the keys; links to folders are not followed, nor links out of it."""
        require_zone(sensitivity, self._zone, self.name)
        folder = self._path(prefix.rstrip("/")) if prefix else self._root.resolve()
        return self._keys_below(folder, f"{prefix.rstrip('/')}/" if prefix else "")

    def _keys_below(self, folder: Path, before: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                names = sorted(f"{one.name}/" if one.is_dir(follow_symlinks=False) else one.name for one in entries)
        except (FileNotFoundError, NotADirectoryError):  # as in a store, where nothing lies below it
            return
        except OSError as error:
            raise unreadable(folder, error) from error
        for name in names:
            path = (folder / name).resolve()
            if name.endswith("/"):
                yield from self._keys_below(folder / name, before + name)
            elif path.is_file() and path.is_relative_to(self._root.resolve()) and not is_unpublished(name):
                yield before + name

    def _path(self, key: str, *, writing: bool = False) -> Path:
        """The file of a key. Links inside the folder may not lead out of it either.

        Deleting removes a link itself and writing is checked again where it is known what the link means, so there only
        the folders on the way matter.
        """
        root = self._root.resolve()
        path = root.joinpath(*key_parts(key, self.name))
        if path.parent.resolve().is_relative_to(root) and (writing or path.resolve().is_relative_to(root)):
            return path
        raise _outside(key, self.name)

    def _require_root(self, destination: Path) -> None:
        if not self._root.is_dir():
            raise OutputError(
                "output.folder_missing",
                f"The folder {str(self._root)!r} for {destination.name!r} does not exist.",
                "Create the folder, or choose another one.",
            )

    def _require_room(self, size_bytes: int, destination: Path) -> None:
        """Says early that a large file will not fit, instead of filling the disk first."""
        disk = shutil.disk_usage(destination.parent)
        # One that has no size, as /proc or some network mounts, says nothing of its room.
        if disk.total and disk.free < size_bytes + self._keep_free_bytes:
            raise ResourceError(
                "fault.disk_full",
                f"There is not enough space for {destination.name!r} ({size_bytes} bytes) in {self.name}.",
                "Free some space on that disk, or choose another one, and run the same command again.",
                needed_bytes=size_bytes + self._keep_free_bytes,
            )


def key_parts(key: str, store: str) -> tuple[str, ...]:
    """The parts of a key between its slashes.

    Raises:
        OutputError: `output.outside_store`, for a key that is empty, absolute or leads outside.
    """
    parts = PurePosixPath(key).parts
    if parts and "\0" not in key and not key.startswith("/") and not key.endswith("/") and ".." not in parts:
        return parts
    raise _outside(key, store)


def _outside(key: str, store: str) -> OutputError:
    return OutputError(
        "output.outside_store",
        f"The key {key!r} does not name a file in {store}.",
        "Use a relative path without '..' and without links that lead out of the store.",
    )


def file_size(path: Path, code: str) -> int:
    """Size in bytes of a file that a store reads.

    Raises:
        StoreError: `code` where it is not there, `store.unreadable`.
    """
    try:
        if not path.is_file():
            raise StoreError(code, f"{str(path)!r} does not exist.", "Run the step that creates it again.")
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def _copy(source: Path, destination: Path, sha256: str | None, watch: Watcher | None) -> str:
    """Publishes a copy of `source`; returns its checksum after comparing it with the expected one."""
    try:
        reading = source.open("rb")
    except OSError as error:
        raise unreadable(source, error) from error
    with reading, publishing(destination) as temporary:
        with temporary.open("wb") as writing:
            shutil.copyfileobj(_Watched(reading, watch), writing, _CHUNK_BYTES)
        found = sha256_of(temporary)
        if sha256 is not None and found != sha256.lower():
            raise StoreError(
                "store.checksum",
                f"The copy of {str(source)!r} does not have the expected checksum.",
                "Try again. If it happens again, check the disk and rerun the step that creates the file.",
                expected=sha256,
                found=found,
            )
    return found


class _Watched:
    """A file whose reader is watched."""

    def __init__(self, file: BinaryIO, watch: Watcher | None) -> None:
        self._file = file
        self._watch = watch

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        if self._watch is not None:
            self._watch(len(content))
        return content


def _stored(path: Path, size_bytes: int, sha256: str) -> StoredObject:
    return StoredObject(uri=path.as_uri(), link=portable(path), size_bytes=size_bytes, sha256=sha256.lower())


def unreadable(path: Path, error: OSError) -> StoreError:
    """`store.unreadable`, for what the operating system said while `path` was read."""
    return StoreError(
        "store.unreadable",
        f"{str(path)!r} cannot be read: {error.strerror or error}.",
        "Check the file's permissions and the disk.",
    )
