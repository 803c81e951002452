"""Where bytes are kept: the protocol of a store, its zone label, and the plain folder.

Other stores (S3 and compatible, Azure Blob, GCS) are added in `infrastructure/storage`; whoever holds a
`Store` need not know which. A store refuses media that its zone may not hold: the last of the three checks that
keep private faces in.

A key is a relative path with `/`, such as `project/job/result.mp4`. A store derives the content type from the
key's ending and keeps the checksum beside the bytes in its own way (object metadata there, the bytes themselves
in a folder), so that neither has to be in the protocol.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Protocol

from faceflow.errors import OutputError, ResourceError, StoreError
from faceflow.job import FrozenModel, Sensitivity
from faceflow.publish import output_error, publishing, sha256_of
from faceflow.zones import Zone, require_zone


class StoredObject(FrozenModel):
    """What a store holds under a key.

    `uri` names the object for programs (`file:///...`, `s3://bucket/key`); `link` is what a person opens: a
    path, or an address that is valid for a while. `sha256` is in lower-case hexadecimal.
    """

    uri: str
    link: str
    size_bytes: int
    sha256: str


class Store(Protocol):
    """A place for finished files. Calls block; an object appears whole or not at all.

    Every method may raise `StoreError` (retryable) when the store does not answer, and `OutputError` with
    `output.outside_store` for a key that is empty, absolute or leads outside.
    """

    @property
    def name(self) -> str:
        """How messages call this store."""
        ...

    @property
    def zone(self) -> Zone:
        """How far the owner of the media trusts this place."""
        ...

    def put(self, local: Path, key: str, sensitivity: Sensitivity, *, sha256: str) -> StoredObject:
        """Stores the file `local` under `key`, replacing what was there.

        Raises:
            TrustError: `trust.zone`, before any byte is read.
            StoreError: `store.checksum`, when the stored bytes do not have the checksum `sha256`.
            OutputError, ResourceError: as `faceflow.publish.publishing`.
        """
        ...

    def get(self, key: str, local: Path, *, sha256: str | None = None) -> StoredObject:
        """Writes the object to the file `local` and checks it against `sha256` where one is given.

        Raises:
            StoreError: `store.missing` or `store.checksum`.
            OutputError, ResourceError: as `faceflow.publish.publishing`, for `local`.
        """
        ...

    def head(self, key: str) -> StoredObject | None:
        """What is stored under `key`, or None."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object. One that is not there is no error."""
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

    def put(self, local: Path, key: str, sensitivity: Sensitivity, *, sha256: str) -> StoredObject:
        """See `Store.put`. The checksum is taken from the written copy, not from the source."""
        require_zone(sensitivity, self._zone, self.name)
        destination = self._path(key, writing=True)
        size = _size_of(local, "store.source_missing")
        self._require_root(destination)
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(error, destination) from error
        self._require_room(size, destination)
        _copy(local, destination, sha256)
        return _stored(destination, sha256)

    def get(self, key: str, local: Path, *, sha256: str | None = None) -> StoredObject:
        """See `Store.get`."""
        path = self._path(key)
        _size_of(path, "store.missing")
        return _stored(path, _copy(path, local, sha256))

    def head(self, key: str) -> StoredObject | None:
        """See `Store.head`. Reads the whole file, because a folder remembers no checksum."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            return _stored(path, sha256_of(path))
        except OSError as error:
            raise _unreadable(path, error) from error

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key, writing=True)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(error, path) from error

    def _path(self, key: str, *, writing: bool = False) -> Path:
        """The file of a key. Links inside the folder may not lead out of it either.

        Writing and deleting replace a link itself, so there only the folders on the way matter.
        """
        parts = PurePosixPath(key).parts
        if parts and "\0" not in key and not key.startswith("/") and not key.endswith("/") and ".." not in parts:
            root = self._root.resolve()
            path = root.joinpath(*parts)
            if path.parent.resolve().is_relative_to(root) and (writing or path.resolve().is_relative_to(root)):
                return path
        raise OutputError(
            "output.outside_store",
            f"The key {key!r} does not name a file inside {self.name}.",
            "Use a relative path without '..' and without links that lead elsewhere.",
        )

    def _require_root(self, destination: Path) -> None:
        if not self._root.is_dir():
            raise OutputError(
                "output.folder_missing",
                f"The folder {str(self._root)!r} for {destination.name!r} does not exist.",
                "Create the folder first, or choose another one.",
            )

    def _require_room(self, size_bytes: int, destination: Path) -> None:
        """Says early that a large file will not fit, instead of filling the disk first."""
        if shutil.disk_usage(destination.parent).free < size_bytes + self._keep_free_bytes:
            raise ResourceError(
                "fault.disk_full",
                f"There is no room for {destination.name!r} ({size_bytes} bytes) in {self.name}.",
                "Free some space on that disk, or choose another one, and give the same command again.",
                needed_bytes=size_bytes + self._keep_free_bytes,
            )


def _size_of(path: Path, code: str) -> int:
    try:
        if not path.is_file():
            raise StoreError(code, f"{str(path)!r} is not there.", "Run the step that makes it again.")
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _copy(source: Path, destination: Path, sha256: str | None) -> str:
    """Publishes a copy of `source`; returns its checksum after comparing it with the expected one."""
    try:
        reading = source.open("rb")
    except OSError as error:
        raise _unreadable(source, error) from error
    with reading, publishing(destination) as temporary:
        with temporary.open("wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
        found = sha256_of(temporary)
        if sha256 is not None and found != sha256.lower():
            raise StoreError(
                "store.checksum",
                f"The copy of {str(source)!r} does not have the expected checksum.",
                "Try again; if it happens again, check the disk and run the step that makes the file anew.",
                expected=sha256,
                found=found,
            )
    return found


def _stored(path: Path, sha256: str) -> StoredObject:
    return StoredObject(uri=path.as_uri(), link=str(path), size_bytes=path.stat().st_size, sha256=sha256.lower())


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        "store.unreadable",
        f"{str(path)!r} cannot be read: {error.strerror or error}.",
        "Check the file's permissions and the disk.",
    )
