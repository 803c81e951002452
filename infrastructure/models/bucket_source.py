"""An object of S3, or of anything that speaks S3, as a source.

Keys, region and endpoint come from the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `AWS_REGION`,
`AWS_SKIP_SIGNATURE` for a public bucket) or from the machine's role. The object is read in slices, each under the tag
of the first, so that none of them takes long and a broken connection costs one slice at most.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from faceflow.infrastructure.models.sources import Opened, SourceError, shown
from faceflow.infrastructure.proxies import unusable_proxy

if TYPE_CHECKING:
    from obstore import GetOptions

SLICE_BYTES = 16 << 20
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


class BucketSource:
    """The object `s3://bucket/key`.

    Args:
        address: bucket and key.
        silence_s: longest time that connecting may take, seconds; a slice may take twice that.
    """

    def __init__(self, address: str, silence_s: float) -> None:
        parts = urlsplit(address)
        self._shown = shown(address)
        self._key = unquote(parts.path).lstrip("/")
        self._store = S3Store(
            parts.netloc,
            client_options={
                "connect_timeout": timedelta(seconds=silence_s),
                "timeout": timedelta(seconds=2 * silence_s),
                "allow_http": True,  # only where AWS_ENDPOINT names such an address
            },
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=2 * silence_s)},
        )

    @property
    def shown(self) -> str:
        """Bucket and key."""
        return self._shown

    @contextmanager
    def open(self, offset: int, validator: str) -> Iterator[Opened]:
        """See `Source.open`."""
        with _told():
            head = obstore.head(self._store, self._key)
        tag, size = head["e_tag"] or "", int(head["size"])
        start = offset if validator in ("", tag) and offset <= size else 0
        yield Opened(start, size, tag, self._slices(start, size, tag))

    def _slices(self, start: int, size: int, tag: str) -> Iterator[bytes]:
        while start < size:
            options: GetOptions = {"range": (start, min(start + SLICE_BYTES, size))}
            if tag:
                options["if_match"] = tag
            with _told():
                content = bytes(obstore.get(self._store, self._key, options=options).bytes())
            if not content:
                raise SourceError("the transfer ended early", passing=True)
            start += len(content)
            yield content


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the library raises into plain words; its own messages are long and name addresses."""
    proxy = unusable_proxy(next((os.environ[name] for name in _ENDPOINTS if name in os.environ), "https:"))
    if proxy is not None:
        raise SourceError(f"its proxy cannot be used: {proxy}", passing=False)
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise SourceError("the object does not exist", passing=False) from None
    except (PermissionDeniedError, UnauthenticatedError, PermissionError):
        raise SourceError("the bucket denies access: check the AWS_ variables or the role", passing=False) from None
    except PreconditionError:
        raise SourceError("the object changed while it was being read", passing=True) from None
    except (BaseError, OSError, ValueError) as error:
        raise SourceError(f"the bucket gave an unexpected answer ({type(error).__name__})", passing=True) from None
