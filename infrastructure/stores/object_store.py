"""The one `Store` over all storage services.

What every service has in common stands here: the zone is asked before a byte is read, keys stay below the store's
prefix, an object that is there already is not sent again, what was sent is looked at, reading goes on after a break
and is checked, links end.
"""

from __future__ import annotations

import hashlib
import mimetypes
import random
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import obstore

from faceflow.errors import ResourceError, StoreError
from faceflow.infrastructure.stores.addresses import Place
from faceflow.infrastructure.stores.pieces import payload_of, wrong_checksum
from faceflow.infrastructure.stores.service import CHECKSUM, Service
from faceflow.infrastructure.stores.store_errors import RefusedError, obstore_refusals, told
from faceflow.infrastructure.stores.store_settings import StoreSettings
from faceflow.job import Sensitivity
from faceflow.log import events
from faceflow.publish import publishing
from faceflow.store import StoredObject, Watcher, key_parts
from faceflow.zones import Zone, require_zone

if TYPE_CHECKING:
    from obstore import GetOptions, ListStream, ObjectMeta

_CHECKSUM = re.compile(r"^[0-9a-f]{64}$")
_PAGE_OBJECTS = 1000
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a service says of an object. `sha256` is None where none is kept beside it."""

    size_bytes: int
    sha256: str | None
    tag: str | None


class ObjectStore:
    """A bucket as a store.

    Args:
        place: name, prefix, zone and links, as configured.
        service: the bucket itself.
        settings: patience, and the size of pieces.
        keep_free_bytes: room that must stay free on the disk after a `get`.
    """

    def __init__(self, place: Place, service: Service, settings: StoreSettings, *, keep_free_bytes: int = 0) -> None:
        self._place = place
        self._connection = place.connection
        self._service = service
        self._settings = settings
        self._keep_free_bytes = keep_free_bytes

    @property
    def name(self) -> str:
        """The configured name, or the bucket's address."""
        return self._place.shown

    @property
    def zone(self) -> Zone:
        """As configured; `public` for a bucket that no configuration names."""
        return self._connection.zone

    def put(
        self, local: Path, key: str, sensitivity: Sensitivity, *, sha256: str, watch: Watcher | None = None
    ) -> StoredObject:
        """See `Store.put`."""
        require_zone(sensitivity, self.zone, self.name)
        path = self._path(key)
        content_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        payload = payload_of(local, sha256, content_type, self._settings.part_bytes)
        wanted = (payload.size_bytes, payload.sha256)
        with self._told(key, "Storing"):
            there = self._facts(path)
            if there is not None and (there.size_bytes, there.sha256) == wanted:
                events().info("store.already_there", store=self.name, key=key)
                return self._stored(path, *wanted)
            self._service.upload(payload, path, watch)
            after = self._facts(path)
            if after is None or (after.size_bytes, after.sha256) != wanted:
                raise RefusedError("PreconditionFailed", 412)
            return self._stored(path, *wanted)

    def get(self, key: str, local: Path, *, sha256: str | None = None, watch: Watcher | None = None) -> StoredObject:
        """See `Store.get`."""
        path = self._path(key)
        with self._told(key, "Reading"):
            facts = self._facts(path)
            if facts is None:
                raise self._missing(key)
            expected = (sha256 or facts.sha256 or "").lower()
            self._require_room(local, facts.size_bytes)
            found = hashlib.sha256()
            with publishing(local) as temporary, temporary.open("wb") as file:
                for chunk in self._slices(path, facts):
                    found.update(chunk)
                    file.write(chunk)
                    if watch is not None:
                        watch(len(chunk))
                if expected and found.hexdigest() != expected:
                    raise wrong_checksum(f"{self.name}: {key}", expected, found.hexdigest())
            return self._stored(path, facts.size_bytes, found.hexdigest())

    def head(self, key: str) -> StoredObject | None:
        """See `Store.head`."""
        path = self._path(key)
        with self._told(key, "Reading"):
            facts = self._facts(path)
            if facts is None:
                return None
            checksum = facts.sha256
            if checksum is None:
                found = hashlib.sha256()
                for chunk in self._slices(path, facts):
                    found.update(chunk)
                checksum = found.hexdigest()
            return self._stored(path, facts.size_bytes, checksum)

    def size_bytes(self, key: str) -> int | None:
        """See `Store.size_bytes`."""
        path = self._path(key)
        with self._told(key, "Reading"):
            facts = self._facts(path)
            return None if facts is None else facts.size_bytes

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key)
        with self._told(key, "Removing"):
            if self._facts(path) is None:
                return
            try:
                with obstore_refusals():
                    obstore.delete(self._service.objects, path)
            except RefusedError as refusal:
                if refusal.trouble != "missing":
                    raise

    def keys(self, prefix: str, sensitivity: Sensitivity) -> Iterator[str]:
        """See `Store.keys`."""
        require_zone(sensitivity, self.zone, self.name)
        return self._keys_below(self._path(prefix.rstrip("/")) if prefix else self._place.prefix)

    def _keys_below(self, path: str) -> Iterator[str]:
        """A page that breaks off is asked for again, from behind the last key that came."""
        inside = len(self._place.prefix) + 1 if self._place.prefix else 0
        last: str | None = None
        failures = 0
        with self._told(path, "Listing"):
            pages = self._pages(path, last)
            while True:
                try:
                    with obstore_refusals():
                        page = next(pages, None)
                except RefusedError as refusal:
                    failures += 1
                    if refusal.trouble != "unreachable" or failures == self._settings.attempts:
                        raise
                    self._pause(failures - 1, refusal)
                    pages = self._pages(path, last)
                    continue
                if page is None:
                    return
                failures = 0
                for meta in page:
                    last = meta["path"]
                    yield last[inside:]

    def _pages(self, path: str, after: str | None) -> ListStream[Sequence[ObjectMeta]]:
        return obstore.list(self._service.objects, path or None, offset=after, chunk_size=_PAGE_OBJECTS)

    def check(self, key: str) -> None:
        """Says early what would end a `put`: no way there, no access, no bucket, no links."""
        path = self._path(key)
        with self._told(key, "Looking for"):
            self._facts(path)
            self._link(path)

    def _path(self, key: str) -> str:
        parts = key_parts(key, self.name)
        return "/".join((self._place.prefix, *parts) if self._place.prefix else parts)

    def _facts(self, path: str) -> _Facts | None:
        options: GetOptions = {"head": True}
        try:
            with obstore_refusals():
                answer = obstore.get(self._service.objects, path, options=options)
        except RefusedError as refusal:
            if refusal.trouble == "missing":
                return None
            raise
        kept = answer.attributes.get(CHECKSUM, "").lower()
        return _Facts(
            int(answer.meta["size"]), kept if _CHECKSUM.match(kept) else None, answer.meta.get("e_tag") or None
        )

    def _slices(self, path: str, facts: _Facts) -> Iterator[bytes]:
        """The object's bytes in pieces, all of the version that `facts` describe; a break costs one piece."""
        start = 0
        while start < facts.size_bytes:
            options: GetOptions = {"range": (start, min(start + self._settings.part_bytes, facts.size_bytes))}
            if facts.tag is not None:
                options["if_match"] = facts.tag
            content = self._slice(path, options)
            if not content:
                raise RefusedError("unreachable")
            start += len(content)
            yield content

    def _slice(self, path: str, options: GetOptions) -> bytes:
        for attempt in range(self._settings.attempts):
            try:
                with obstore_refusals():
                    return bytes(obstore.get(self._service.objects, path, options=options).bytes())
            except RefusedError as refusal:
                if refusal.trouble not in ("busy", "unreachable") or attempt + 1 == self._settings.attempts:
                    raise
                self._pause(attempt, refusal)
        raise RefusedError("unreachable")

    def _pause(self, attempt: int, refusal: RefusedError) -> None:
        """Before the next attempt; `attempt` counts from 0."""
        events().info("store.retry", store=self.name, reason=refusal.trouble)
        pause_s = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
        time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    def _stored(self, path: str, size_bytes: int, sha256: str) -> StoredObject:
        link, until = self._link(path)
        return StoredObject(uri=self._uri(path), link=link, size_bytes=size_bytes, sha256=sha256, link_expires_at=until)

    def uri_of(self, key: str) -> str:
        """The address of what lies under `key`, whatever name the store was reached by. Raises as `put` for the key."""
        return self._uri(self._path(key))

    def _uri(self, path: str) -> str:
        return f"{self._place.kind}://{self._place.bucket}/{path}"

    def _link(self, path: str) -> tuple[str, datetime | None]:
        if self._connection.links == "none":
            return self._uri(path), None
        if self._connection.link_base is not None:
            inside = path[len(self._place.prefix) :].lstrip("/") if self._place.prefix else path
            return f"{self._connection.link_base.rstrip('/')}/{quote(inside)}", None
        valid_for = timedelta(seconds=self._connection.link_s)
        until = datetime.now(UTC).replace(microsecond=0) + valid_for
        return self._service.link(path, valid_for), until

    def _require_room(self, local: Path, size_bytes: int) -> None:
        folder = local.parent
        if folder.is_dir() and shutil.disk_usage(folder).free < size_bytes + self._keep_free_bytes:
            raise ResourceError(
                "fault.disk_full",
                f"There is not enough space for {local.name!r} ({size_bytes} bytes) in {str(folder)!r}.",
                "Free some space on that disk, or choose another one, and run the same command again.",
                needed_bytes=size_bytes + self._keep_free_bytes,
            )

    def _missing(self, key: str) -> StoreError:
        return StoreError(
            "store.missing",
            f"There is no object {key!r} in {self.name}.",
            "Check the address, or run the step that creates it again.",
        )

    @contextmanager
    def _told(self, key: str, doing: str) -> Iterator[None]:
        try:
            yield
        except RefusedError as refusal:
            raise told(refusal, self.name, key, doing) from None
