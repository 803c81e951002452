"""An `http(s)` address as a source: ranges, redirects, and the reasons of refusals in plain words.

A range is asked for with `If-Range`, so that a file which changed meanwhile comes whole. Redirects (the public sources
send everybody on to a content network) are followed a few times, never from https to http.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from faceflow.infrastructure.models.sources import Opened, SourceError, shown
from faceflow.infrastructure.proxies import unusable_proxy

MOST_REDIRECTS = 5
LONGEST_WAIT_S = 60.0
_PASSING = frozenset({408, 421, 425, 429, 500, 502, 503, 504})
_REASONS = {
    401: "it requires a login",
    403: "it denies access",
    404: "the file is not there",
    407: "the proxy requires a login",
    410: "the file is no longer there",
    429: "it reports too many requests",
    451: "it may not serve the file in this region",
}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")


def http_client(silence_s: float) -> httpx.Client:
    """A client for sources, safe for many threads: bounded in time, with the machine's proxy and certificates."""
    return httpx.Client(
        timeout=httpx.Timeout(silence_s),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "faceflow"},
    )


class HttpSource:
    """The file at `address`."""

    def __init__(self, address: str, client: httpx.Client) -> None:
        self._address = address
        self._client = client

    @property
    def shown(self) -> str:
        """The address without secrets."""
        return shown(self._address)

    @contextmanager
    def open(self, offset: int, validator: str) -> Iterator[Opened]:
        """See `Source.open`."""
        proxy = unusable_proxy(self._address)
        if proxy is not None:
            raise SourceError(f"its proxy cannot be used: {proxy}", passing=False)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and validator:
            headers["If-Range"] = validator
        with _told():
            response = self._send(headers)
            if _is_another(response, offset, validator):
                response.close()
                response = self._send({})
                offset = 0
        try:
            yield _opened(response, offset)
        finally:
            response.close()

    def _send(self, headers: dict[str, str]) -> httpx.Response:
        request = self._client.build_request("GET", self._address, headers=headers)
        for _ in range(MOST_REDIRECTS + 1):
            response = self._client.send(request, stream=True)
            if response.next_request is None:
                return response
            response.close()
            before, request = request, response.next_request
            if request.url.scheme not in ("https", before.url.scheme):
                raise SourceError(f"it redirects to an unsafe address ({request.url.scheme})", passing=False)
        raise SourceError(f"it redirects more than {MOST_REDIRECTS} times", passing=False)


def _opened(response: httpx.Response, offset: int) -> Opened:
    headers, validator = response.headers, _validator(response)
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise SourceError("it sends a different part of the file than requested", passing=False)
        return Opened(offset, None if match[3] == "*" else int(match[3]), validator, _chunks(response))
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
        return Opened(offset, offset, validator, iter(()))
    if response.status_code != httpx.codes.OK:
        raise _refusal(response)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise SourceError("it sends the file compressed, which was not requested", passing=False)
    if headers.get("Content-Type", "").startswith("text/html"):
        raise SourceError("it sends a web page instead of the file", passing=False)
    length = headers.get("Content-Length", "")
    return Opened(0, int(length) if length.isdecimal() else None, validator, _chunks(response))


def _validator(response: httpx.Response) -> str:
    """What `If-Range` takes: a strong entity tag, or else the time of the last change."""
    tag: str = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _is_another(response: httpx.Response, offset: int, validator: str) -> bool:
    """Whether the answer to a range shows that the file at the source is not the one that `validator` was of."""
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        told: str = response.headers.get("Content-Range", "")
        return told != f"bytes */{offset}"  # shorter than what is here already
    if response.status_code == httpx.codes.PARTIAL_CONTENT and validator:
        return _validator(response) not in ("", validator)  # some servers do not look at If-Range
    return False


def _refusal(response: httpx.Response) -> SourceError:
    status = response.status_code
    reason = f"{_REASONS.get(status, 'it does not provide the file')} (HTTP {status})"
    wait = response.headers.get("Retry-After", "")
    wait_s = min(float(wait), LONGEST_WAIT_S) if wait.isdecimal() else None
    return SourceError(reason, passing=status in _PASSING, wait_s=wait_s)


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    with _told():
        yield from response.iter_raw()  # as it comes: nothing waits in a buffer when the connection breaks


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise SourceError("it does not respond in time", passing=True) from None
    except httpx.ConnectError as error:
        raise _unconnected(error) from error
    except httpx.TransportError as error:
        raise SourceError(f"the connection broke ({error or type(error).__name__})", passing=True) from error
    except httpx.InvalidURL:
        raise SourceError("its address is not valid", passing=False) from None


def _unconnected(error: httpx.ConnectError) -> SourceError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceError(
                f"its certificate is not trusted on this machine ({cause.verify_message}); behind a proxy with "
                "its own certificate, set SSL_CERT_FILE",
                passing=False,
            )
        if isinstance(cause, ssl.SSLError):
            return SourceError(f"no secure connection can be made ({cause.reason or cause})", passing=False)
        cause = cause.__cause__ or cause.__context__
    return SourceError(f"it cannot be reached ({error})", passing=True)
