"""Google Cloud Storage.

obstore offers no checksum that this service would verify on arrival. So an upload goes to a name beside the final one,
is read back and compared, and only then copied, inside the service, to where it belongs: nobody ever sees bytes that
were not verified. What lies complete beside the final name after a killed process is used by the next attempt;
an upload that was cut is begun again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cached_property

import obstore
from obstore.store import GCSStore

from faceflow.infrastructure.stores.addresses import Place
from faceflow.infrastructure.stores.pieces import Payload, wrong_checksum
from faceflow.infrastructure.stores.service import CHECKSUM, client_options, retry_options
from faceflow.infrastructure.stores.store_errors import RefusedError, obstore_refusals
from faceflow.infrastructure.stores.store_settings import StoreSettings
from faceflow.store import Watcher

STAGED = ".faceflow-part"
"""Ending of names beside the final ones; a rule of the bucket may remove them after a day."""


class GcsService:
    """One bucket. See `Service`."""

    def __init__(self, place: Place, settings: StoreSettings) -> None:
        self._place = place
        self._settings = settings

    @cached_property
    def objects(self) -> GCSStore:
        """See `Service`."""
        # A stand-in for tests is named inside the service account file (`gcs_base_url`), not by `endpoint`.
        path = self._place.connection.service_account or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        with obstore_refusals():
            return GCSStore(
                self._place.bucket,
                config={} if path is None else {"service_account": str(path)},
                client_options=client_options(self._settings, self._place.connection.endpoint),
                retry_config=retry_options(self._settings),
            )

    def link(self, key: str, valid_for: timedelta) -> str:
        """See `Service`."""
        with obstore_refusals():
            try:
                return obstore.sign(self.objects, "GET", key, valid_for)
            except obstore.exceptions.GenericError:
                raise RefusedError("not_signed") from None

    def upload(self, payload: Payload, key: str, watch: Watcher | None) -> None:
        """See `Service`."""
        staged = f"{key}.{payload.sha256[:16]}{STAGED}"
        with obstore_refusals():
            if self._hash(staged) != payload.sha256:
                contents = self._contents(payload, watch)
                obstore.put(
                    self.objects,
                    staged,
                    b"".join(contents) if payload.is_one_piece else contents,
                    attributes={"Content-Type": payload.content_type, CHECKSUM: payload.sha256},
                    use_multipart=not payload.is_one_piece,
                    chunk_size=payload.piece_bytes,
                    max_concurrency=self._settings.parallel_parts,
                )
                found = self._hash(staged)
                if found != payload.sha256:
                    obstore.delete(self.objects, staged)
                    raise wrong_checksum(staged, payload.sha256, str(found))
            obstore.copy(self.objects, staged, key)
            with suppress(FileNotFoundError):
                obstore.delete(self.objects, staged)

    @staticmethod
    def _contents(payload: Payload, watch: Watcher | None) -> Iterator[bytes]:
        for piece in payload.pieces():
            if watch is not None:
                watch(len(piece.content))
            yield piece.content

    def _hash(self, key: str) -> str | None:
        """SHA-256 of what lies under `key`, read whole; None where nothing does."""
        try:
            found = hashlib.sha256()
            for chunk in obstore.get(self.objects, key):
                found.update(chunk)
            return found.hexdigest()
        except FileNotFoundError:
            return None
