"""S3 and what speaks S3: AWS, MinIO, SeaweedFS, Alibaba OSS.

Reading, deleting and signing go through obstore. Uploads go through botocore, because an upload in parts that another
process can go on with needs the parts to be listed, and because botocore knows every place where AWS keeps
credentials; obstore is given the same ones.

An upload in parts: begin (with the metadata), send each part with its checksum, which the service verifies on arrival,
complete. Nothing is visible before that. After a break, the service's list says which parts it has; those whose size
and checksum are those of the local file are not sent again.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3
import obstore
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from faceflow.errors import StoreError
from faceflow.infrastructure.stores.addresses import Place
from faceflow.infrastructure.stores.pieces import Payload, Piece, send_all
from faceflow.infrastructure.stores.service import CHECKSUM, client_options, retry_options
from faceflow.infrastructure.stores.store_errors import RefusedError, obstore_refusals
from faceflow.infrastructure.stores.store_settings import StoreSettings
from faceflow.infrastructure.stores.uploads import UploadRecords, token_of
from faceflow.log import events
from faceflow.store import Watcher

if TYPE_CHECKING:
    from obstore.store import S3Config

_SSE = {"aes256": "AES256", "kms": "aws:kms"}
_TELL_DIGEST = {"sha256": "ChecksumSHA256", "md5": "ContentMD5"}


class S3Service:
    """One bucket. See `Service`."""

    def __init__(self, place: Place, settings: StoreSettings, records: UploadRecords) -> None:
        self._place = place
        self._connection = place.connection
        self._settings = settings
        self._records = records
        variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        self._endpoint = self._connection.endpoint or next(
            (os.environ[name] for name in variables if name in os.environ), None
        )

    @cached_property
    def objects(self) -> S3Store:
        """See `Service`."""
        config: S3Config = {
            "region": self._region,
            "virtual_hosted_style_request": self._connection.virtual_hosted,
        }
        if self._endpoint is not None:
            config["endpoint"] = self._endpoint
        with _botocore_refusals():
            if self._session.get_credentials() is None:
                raise RefusedError("credentials_missing")
            provider = Boto3CredentialProvider(self._session)
        return S3Store(
            self._place.bucket,
            config=config,
            client_options=client_options(self._settings, self._endpoint),
            retry_config=retry_options(self._settings),
            credential_provider=provider,
        )

    def link(self, key: str, valid_for: timedelta) -> str:
        """See `Service`."""
        with obstore_refusals():
            return obstore.sign(self.objects, "GET", key, valid_for)

    def upload(self, payload: Payload, key: str, watch: Watcher | None) -> None:
        """See `Service`."""
        with _botocore_refusals():
            if payload.is_one_piece:
                (piece,) = payload.pieces()
                digest = self._digest(piece)
                self._client.put_object(**self._target(key), **self._facts(payload), Body=piece.content, **digest)
                if watch is not None:
                    watch(len(piece.content))
            else:
                self._upload_parts(payload, key, watch)

    def _upload_parts(self, payload: Payload, key: str, watch: Watcher | None) -> None:
        facts = self._facts(payload)
        token = token_of(
            self._endpoint or "aws", self._place.bucket, key, payload.sha256, payload.piece_bytes, repr(facts)
        )
        checksums = {"ChecksumAlgorithm": "SHA256"} if self._connection.checksums == "sha256" else {}
        upload_id, there = self._begun(token, key)
        if upload_id is None:
            upload_id = str(self._client.create_multipart_upload(**self._target(key), **facts, **checksums)["UploadId"])
            self._records.keep(token, upload_id)
        else:
            events().info("store.upload_resumed", key=key, parts=len(there))
        target = {**self._target(key), "UploadId": upload_id}

        def send(piece: Piece) -> dict[str, Any]:
            kept = there.get(piece.number)
            part: dict[str, Any] = {"PartNumber": piece.number}
            if kept is None or not _is_same(kept, piece):
                kept = self._client.upload_part(**target, **part, Body=piece.content, **self._digest(piece))
            # Our own checksum: not every service lists it, and all want it to complete what was begun with it.
            checksum = {"ChecksumSHA256": b64encode(piece.sha256).decode()} if checksums else {}
            return part | {"ETag": kept["ETag"]} | checksum

        try:
            parts = send_all(payload, send, self._settings.parallel_parts, watch)
        except StoreError:  # the local file is not what was announced: nobody will want these parts
            self._client.abort_multipart_upload(**target)
            self._records.forget(token)
            raise
        self._complete(target, parts, payload)
        self._records.forget(token)

    def _begun(self, token: str, key: str) -> tuple[str | None, dict[int, dict[str, Any]]]:
        """An upload of the same content to the same place that an earlier attempt began, and its parts by number."""
        upload_id = self._records.find(token)
        if upload_id is None:
            return None, {}
        try:
            pages = self._client.get_paginator("list_parts").paginate(**self._target(key), UploadId=upload_id)
            return upload_id, {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchUpload", "404"):
                raise
            self._records.forget(token)
            return None, {}

    def _complete(self, target: dict[str, Any], parts: list[dict[str, Any]], payload: Payload) -> None:
        try:
            self._client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        except ClientError as error:
            # Its answer was lost and the request repeated: then the upload is gone and the object is there.
            if error.response["Error"]["Code"] != "NoSuchUpload" or not self._holds(target, payload):
                raise

    def _holds(self, target: dict[str, Any], payload: Payload) -> bool:
        head = self._client.head_object(Bucket=target["Bucket"], Key=target["Key"])
        return bool(head["Metadata"].get(CHECKSUM) == payload.sha256)

    def _digest(self, piece: Piece) -> dict[str, str]:
        name = self._connection.checksums
        return {_TELL_DIGEST[name]: b64encode(piece.sha256 if name == "sha256" else piece.md5).decode()}

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": key}

    def _facts(self, payload: Payload) -> dict[str, Any]:
        """What goes with the object: type, checksum, tags, encryption."""
        facts: dict[str, Any] = {"ContentType": payload.content_type, "Metadata": {CHECKSUM: payload.sha256}}
        if self._connection.tags:
            facts["Tagging"] = urlencode(self._connection.tags)
        if self._connection.encryption != "default":
            facts["ServerSideEncryption"] = _SSE[self._connection.encryption]
        if self._connection.encryption_key is not None:
            facts["SSEKMSKeyId"] = self._connection.encryption_key
        return facts

    @property
    def _region(self) -> str:
        return self._connection.region or str(self._session.region_name or "us-east-1")

    @cached_property
    def _session(self) -> Any:
        keys = {
            name: None if secret is None else secret.get_secret_value()
            for name, secret in (
                ("aws_access_key_id", self._connection.access_key_id),
                ("aws_secret_access_key", self._connection.secret_access_key),
                ("aws_session_token", self._connection.session_token),
            )
        }
        with _botocore_refusals():
            return boto3.Session(**keys, profile_name=self._connection.profile, region_name=self._connection.region)

    @cached_property
    def _client(self) -> Any:
        style = "virtual" if self._connection.virtual_hosted else "path" if self._endpoint else "auto"
        config = Config(
            connect_timeout=self._settings.connect_timeout_s,
            read_timeout=self._settings.timeout_s,
            retries={"mode": "standard", "total_max_attempts": self._settings.attempts},
            max_pool_connections=self._settings.parallel_parts + 1,
            s3={"addressing_style": style},
            # We send digests of our own; botocore's trailing ones are unknown to most services that speak S3.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return self._session.client("s3", endpoint_url=self._endpoint, region_name=self._region, config=config)


def _is_same(kept: dict[str, Any], piece: Piece) -> bool:
    """Whether the part that the service has is the piece. Its tag is an MD5 except under KMS, then SHA-256 decides."""
    if kept["Size"] != len(piece.content):
        return False
    if "ChecksumSHA256" in kept:
        return bool(kept["ChecksumSHA256"] == b64encode(piece.sha256).decode())
    return bool(kept["ETag"].strip('"') == piece.md5.hex())


@contextmanager
def _botocore_refusals() -> Iterator[None]:
    try:
        yield
    except exceptions.ClientError as error:
        answer = error.response
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise RefusedError(str(answer.get("Error", {}).get("Code", "")), status) from None
    except exceptions.SSLError:
        raise RefusedError("certificate") from None
    except (exceptions.HTTPClientError, exceptions.IncompleteReadError):
        raise RefusedError("unreachable") from None
    except (exceptions.TokenRetrievalError, exceptions.SSOTokenLoadError, exceptions.UnauthorizedSSOTokenError):
        raise RefusedError("ExpiredToken") from None
    except exceptions.ParamValidationError:
        raise RefusedError("InvalidUri") from None
    except exceptions.BotoCoreError:  # no credentials, no such profile, a role that cannot be assumed
        raise RefusedError("credentials_missing") from None
