"""What a storage service says when it refuses, in faceflow's words.

Services, their libraries and proxies name the same few troubles in many ways. A `RefusedError` holds what they have in
common, a word and an HTTP status; the tables below say which trouble that is. The services' own texts are left out of
messages: they are long, and they hold addresses with signatures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from faceflow.errors import FaceflowError, OutputError, StoreError, StoreSetupError

_WORDS = {
    "NoSuchBucket": "bucket_missing",
    "ContainerNotFound": "bucket_missing",
    "ContainerBeingDeleted": "bucket_missing",
    "InvalidBucketName": "bucket_missing",
    "ExpiredToken": "credentials_expired",
    "ExpiredTokenException": "credentials_expired",
    "TokenRefreshRequired": "credentials_expired",
    "RequestExpired": "credentials_expired",
    "SecurityTokenExpired": "credentials_expired",
    "InvalidAccessKeyId": "credentials_invalid",
    "SignatureDoesNotMatch": "credentials_invalid",
    "InvalidToken": "credentials_invalid",
    "InvalidSecurity": "credentials_invalid",
    "AuthenticationFailed": "credentials_invalid",
    "InvalidAuthenticationInfo": "credentials_invalid",
    "NoAuthenticationInformation": "credentials_invalid",
    "AuthorizationHeaderMalformed": "region_wrong",
    "PermanentRedirect": "region_wrong",
    "IllegalLocationConstraintException": "region_wrong",
    "RequestTimeTooSkewed": "clock",
    "AccessDenied": "access_denied",
    "AllAccessDisabled": "access_denied",
    "AuthorizationFailure": "access_denied",
    "AuthorizationPermissionMismatch": "access_denied",
    "InsufficientAccountPermissions": "access_denied",
    "QuotaExceeded": "full",
    "XMinioStorageFull": "full",
    "InsufficientStorage": "full",
    "EntityTooLarge": "full",
    "KeyTooLongError": "key_refused",
    "InvalidObjectName": "key_refused",
    "InvalidResourceName": "key_refused",
    "InvalidUri": "key_refused",
    "EncryptionScopeNotFound": "encryption_refused",
    "EncryptionScopeDisabled": "encryption_refused",
    "BadDigest": "damaged",
    "InvalidDigest": "damaged",
    "Md5Mismatch": "damaged",
    "Crc64Mismatch": "damaged",
    "XAmzContentSHA256Mismatch": "damaged",
    "PreconditionFailed": "changed",
    "ConditionNotMet": "changed",
    "credentials_missing": "credentials_missing",
    "unreachable": "unreachable",
    "certificate": "certificate",
    "not_signed": "not_signed",
    "key_unusual": "key_unusual",
}
_STATUSES = {301: "region_wrong", 307: "region_wrong", 401: "credentials_invalid", 403: "access_denied", 412: "changed"}
_STATUSES |= {404: "missing", 408: "busy", 413: "full", 429: "busy", 507: "full"}

_TELLS: dict[str, Callable[[str], FaceflowError]] = {
    "bucket_missing": lambda failed: StoreSetupError(
        "store.bucket_missing",
        f"{failed}: the bucket or container does not exist.",
        "Create it, or correct the store's address.",
    ),
    "access_denied": lambda failed: StoreSetupError(
        "store.access_denied",
        f"{failed}: access is denied.",
        "Give the credentials or role the rights that docs/stores.md lists for this bucket and prefix.",
    ),
    "credentials_expired": lambda failed: StoreSetupError(
        "store.credentials_expired",
        f"{failed}: the credentials have expired.",
        "Renew them (or use a role, which renews itself) and run the same command again.",
    ),
    "credentials_invalid": lambda failed: StoreSetupError(
        "store.credentials_invalid",
        f"{failed}: the credentials are not accepted.",
        "Correct the store's keys; see docs/stores.md for where faceflow looks for them.",
    ),
    "credentials_missing": lambda failed: StoreSetupError(
        "store.credentials_missing",
        f"{failed}: there are no credentials for it.",
        "Configure the store with keys, or give the machine a role; docs/stores.md says where faceflow looks for them.",
    ),
    "region_wrong": lambda failed: StoreSetupError(
        "store.region_wrong",
        f"{failed}: the bucket is in another region or at another address.",
        "Correct `region` and `endpoint` of the store.",
    ),
    "clock": lambda failed: StoreSetupError(
        "store.clock",
        f"{failed}: this machine's clock is wrong.",
        "Set the clock (NTP); signatures are only valid for minutes.",
    ),
    "certificate": lambda failed: StoreSetupError(
        "store.certificate",
        f"{failed}: its certificate is not trusted.",
        "Set SSL_CERT_FILE and AWS_CA_BUNDLE to the certificates of your authority.",
    ),
    "encryption_refused": lambda failed: StoreSetupError(
        "store.encryption_refused",
        f"{failed}: it cannot encrypt as requested.",
        "Check `encryption_key` of the store and the right to use that key.",
    ),
    "not_signed": lambda failed: StoreSetupError(
        "store.not_signed",
        f"{failed}: the credentials cannot sign links.",
        "Use credentials with a key (Google: give the account the right signBlob), or set `links` "
        "of the store to `cdn` or `none`.",
    ),
    "full": lambda failed: StoreSetupError(
        "store.full",
        f"{failed}: it is full.",
        "Free some space or raise the store's quota.",
    ),
    "key_refused": lambda failed: OutputError(
        "output.bad_name",
        f"{failed}: it does not accept this name.",
        "Choose a shorter name without unusual characters.",
    ),
    "key_unusual": lambda failed: StoreSetupError(
        "store.key_unusual",
        f"{failed}: an object below it has an empty part in its name (`//`), which faceflow cannot address.",
        "Rename it, or list a prefix without it.",
    ),
    "missing": lambda failed: StoreError(
        "store.missing",
        f"{failed}: the object does not exist.",
        "Check the address, or run the step that creates it again.",
    ),
    "changed": lambda failed: StoreError(
        "store.changed",
        f"{failed}: the object changed in the meantime.",
        "Run the same command again, and make sure that nothing else writes there.",
    ),
    "damaged": lambda failed: StoreError(
        "store.damaged",
        f"{failed}: data was damaged in transit.",
        "Run the same command again; if the error persists, check the network.",
    ),
    "busy": lambda failed: StoreError(
        "store.busy",
        f"{failed}: it is overloaded or failing.",
        "Run the same command again later: it continues where it stopped.",
    ),
    "unreachable": lambda failed: StoreError(
        "store.unreachable",
        f"{failed}: it cannot be reached or does not respond in time.",
        "Check the store's endpoint and the network, and run the same command again: it continues where it stopped.",
    ),
    "refused": lambda failed: StoreError(
        "store.refused",
        f"{failed}: it refused the request.",
        "Check the store's settings and the service's own log.",
    ),
}


class RefusedError(Exception):
    """What a service answered instead of doing it; never leaves this package.

    Args:
        word: the service's own code, or one of ours (`unreachable`, `credentials_missing`, `certificate`).
        status: HTTP status, 0 where there was no answer.
    """

    def __init__(self, word: str = "", status: int = 0) -> None:
        super().__init__(word, status)
        self.word = word
        self.status = status

    @property
    def trouble(self) -> str:
        """Which of the known troubles this is; the last part of the error's code."""
        if self.word in _WORDS:
            return _WORDS[self.word]
        if self.word.startswith("KMS."):
            return "encryption_refused"
        if self.status >= 500 and self.status != 507:
            return "busy"
        return _STATUSES.get(self.status, "refused")


def told(refusal: RefusedError, store: str, key: str, doing: str) -> FaceflowError:
    """The error for a refusal while `doing` ("Storing", "Reading") the object `key` of a store."""
    error = _TELLS[refusal.trouble](f"{doing} {key!r} in {store} failed")
    error.fields.update({"status": refusal.status, "answer": refusal.word} if refusal.status else {})
    return error


_CODE = re.compile(r"<Code>([\w.]+)</Code>|code: ([A-Z]\w+)|\"reason\": ?\"(\w+)\"")
_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})|\(code: (\d{3})\)")
_SILENT = re.compile(r"error sending request|timed ?out|connection|dns error|body error", re.IGNORECASE)


@contextmanager
def obstore_refusals() -> Iterator[None]:
    """Turns what obstore raises inside the block into a `RefusedError`."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise of_obstore(error) from None


def of_obstore(error: Exception) -> RefusedError:
    """What obstore's exception says; its text holds the service's answer."""
    text = str(error)
    if isinstance(error, InvalidPathError) and "Encountered object" in text:  # met by a listing
        return RefusedError("key_unusual")
    code, status = _CODE.search(text), _STATUS.search(text)
    word = next((group for group in code.groups() if group), "") if code else ""
    number = int(next(group for group in status.groups() if group)) if status else 0
    kinds = {FileNotFoundError: 404, PermissionDeniedError: 403, UnauthenticatedError: 401, PreconditionError: 412}
    number = number or next((known for kind, known in kinds.items() if isinstance(error, kind)), 0)
    if not number and not word:
        word = "certificate" if "certificate" in text.lower() else "unreachable" if _SILENT.search(text) else ""
    return RefusedError(word, number)
