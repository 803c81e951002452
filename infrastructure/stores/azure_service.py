"""Azure Blob Storage.

An upload stages blocks and then commits the list of them; the blob appears with the commit. Staged blocks wait a week,
and their names say of which content they are, so any process on any machine goes on with them. The service verifies
each block by its MD5.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from azure.core import exceptions
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import (
    BlobBlock,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    ExponentialRetry,
    generate_blob_sas,
)
from obstore.auth.azure import AzureCredentialProvider
from obstore.store import AzureStore

from faceflow.infrastructure.stores.addresses import Place
from faceflow.infrastructure.stores.pieces import Payload, Piece, send_all
from faceflow.infrastructure.stores.service import CHECKSUM, client_options, retry_options
from faceflow.infrastructure.stores.store_errors import RefusedError
from faceflow.infrastructure.stores.store_settings import StoreSettings
from faceflow.log import events
from faceflow.store import Watcher

if TYPE_CHECKING:
    from obstore.store import AzureConfig


class AzureService:
    """One container. See `Service`."""

    def __init__(self, place: Place, settings: StoreSettings) -> None:
        self._place = place
        self._connection = place.connection
        self._settings = settings
        self._account = self._connection.account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        secret = self._connection.account_key
        self._key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY") if secret is None else secret.get_secret_value()
        self._endpoint = self._connection.endpoint or f"https://{self._account}.blob.core.windows.net"

    @cached_property
    def objects(self) -> AzureStore:
        """See `Service`."""
        self._require_account()
        config: AzureConfig = {"account_name": self._account, "endpoint": self._endpoint}
        options: dict[str, Any] = {}
        if self._key is not None:
            config["account_key"] = self._key
        else:
            options["credential_provider"] = AzureCredentialProvider(self._identity)
        return AzureStore(
            self._place.bucket,
            config=config,
            client_options=client_options(self._settings, self._endpoint),
            retry_config=retry_options(self._settings),
            **options,
        )

    def link(self, key: str, valid_for: timedelta) -> str:
        """See `Service`. Without an account key, the key of the signed-in identity signs."""
        until = datetime.now(UTC) + valid_for
        with _azure_refusals():
            signer: dict[str, Any] = {"account_key": self._key}
            if self._key is None:
                client = BlobServiceClient(self._endpoint, credential=self._identity)
                signer = {"user_delegation_key": client.get_user_delegation_key(datetime.now(UTC), until)}
            token = generate_blob_sas(self._account, self._place.bucket, key, permission="r", expiry=until, **signer)
            return f"{self._container.get_blob_client(key).url}?{token}"

    def upload(self, payload: Payload, key: str, watch: Watcher | None) -> None:
        """See `Service`."""
        scope = self._connection.encryption_key
        with _azure_refusals():
            blob = self._container.get_blob_client(key)
            there = self._staged(key)
            if there:
                events().info("store.upload_resumed", key=key, parts=len(there))

            def send(piece: Piece) -> BlobBlock:
                # All names are equally long, as the service wants it, and bound to the content.
                name = f"{payload.sha256[:32]}-{payload.piece_bytes:010d}-{piece.number:05d}"
                if there.get(name) != len(piece.content):
                    blob.stage_block(name, piece.content, validate_content=True, encryption_scope=scope)
                return BlobBlock(name)

            blocks = send_all(payload, send, self._settings.parallel_parts, watch)
            blob.commit_block_list(
                blocks,
                content_settings=ContentSettings(content_type=payload.content_type),
                metadata={CHECKSUM: payload.sha256},
                tags=self._connection.tags or None,
                encryption_scope=scope,
            )

    def _staged(self, key: str) -> dict[str, int]:
        """Size of every staged block by its name."""
        try:
            _, staged = self._container.get_blob_client(key).get_block_list("uncommitted")
        except HttpResponseError as error:
            if getattr(error, "error_code", None) != "BlobNotFound":
                raise
            return {}
        return {str(block["id"]): int(block["size"]) for block in staged}

    @cached_property
    def _container(self) -> ContainerClient:
        self._require_account()
        return ContainerClient(
            self._endpoint,
            self._place.bucket,
            credential=self._identity
            if self._key is None
            else {"account_name": self._account, "account_key": self._key},
            connection_timeout=self._settings.connect_timeout_s,
            read_timeout=self._settings.timeout_s,
            retry_policy=ExponentialRetry(
                initial_backoff=1, increment_base=2, retry_total=self._settings.attempts - 1, random_jitter_range=1
            ),
            max_single_put_size=self._settings.part_bytes,
        )

    @cached_property
    def _identity(self) -> Any:
        return DefaultAzureCredential()

    def _require_account(self) -> None:
        if not self._account:
            raise RefusedError("credentials_missing")
        if self._key is not None:
            try:
                b64decode(self._key, validate=True)
            except ValueError:
                raise RefusedError("AuthenticationFailed") from None


@contextmanager
def _azure_refusals() -> Iterator[None]:
    try:
        yield
    except exceptions.ClientAuthenticationError as error:
        # Either the service answered, or no identity was found to ask with.
        code = getattr(error, "error_code", None)
        raise RefusedError(str(code or "credentials_missing"), error.status_code or 0) from None
    except exceptions.HttpResponseError as error:
        raise RefusedError(str(getattr(error, "error_code", None) or ""), error.status_code or 0) from None
    except (exceptions.ServiceRequestError, exceptions.ServiceResponseError) as error:
        raise RefusedError("certificate" if "CERTIFICATE" in str(error) else "unreachable") from None
    except (exceptions.AzureError, ValueError):
        raise RefusedError("credentials_missing") from None
