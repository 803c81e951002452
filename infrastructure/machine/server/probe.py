"""Who answers at the address of a Prefect server: a Prefect server, or what else.

Asked before Prefect's own client is, because that one retries for minutes and then shows its stack where an address is
wrong, a sign-in is missing, or something else answers: a proxy's page, a web server, nobody.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from faceflow.infrastructure.machine.server.inherited import is_cloud

MOST_BYTES: Final = 65536
_TRUE: Final = ("1", "true", "t", "yes", "y", "on")


class Answer(StrEnum):
    """What was found."""

    PREFECT = "prefect"
    SILENT = "silent"
    """Nobody answers, or not in time, or half."""
    OTHER = "other"
    """Something answers that is no Prefect server."""
    REFUSED = "refused"
    """It asks for a sign-in, or refuses ours."""
    UNUSABLE = "unusable"
    """The address or what belongs to it cannot be used: nothing was asked."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found, and in words: `it answers ...`."""

    answer: Answer
    words: str = ""


def probe(api_url: str, timeout_s: float, environment: Mapping[str, str] | None = None) -> Probed:
    """Asks once who answers at `api_url`.

    Args:
        api_url: what `PREFECT_API_URL` says.
        timeout_s: longest time for all of it, seconds.
        environment: how a server that the user names is reached; None for our own, which asks for nothing.
    """
    try:
        base = _base(api_url)
        headers, verify = ({}, True) if environment is None else (_headers(environment), _verify(environment))
    except ValueError as error:
        return Probed(Answer.UNUSABLE, str(error))
    try:
        with httpx.Client(
            timeout=timeout_s, headers=headers, verify=verify, trust_env=environment is not None
        ) as client:
            deadline = time.monotonic() + timeout_s
            found = _health(*_get(client, f"{base}/health", deadline), cloud=is_cloud(api_url))
            if found.answer is Answer.PREFECT and environment is not None:
                status, _ = _get(client, f"{base}/admin/version", deadline)
                found = _refusal(status) or found
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        found = Probed(Answer.SILENT, _silence(error))
    return found


def answers(api_url: str, timeout_s: float = 2.0) -> bool:
    """Whether our own Prefect server answers at `api_url`."""
    return probe(api_url, timeout_s).answer is Answer.PREFECT


def answers_named(api_url: str, timeout_s: float) -> Probed:
    """Who answers at an address that the user names, asked as the user's variables say."""
    return probe(api_url, timeout_s, os.environ)


def _get(client: httpx.Client, url: str, deadline: float) -> tuple[int, bytes]:
    body = b""
    with client.stream("GET", url) as response:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                break
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("its answer does not end")
        location = response.headers.get("location", "")
        return response.status_code, location.encode() if response.is_redirect else body


def _health(status: int, body: bytes, *, cloud: bool) -> Probed:
    refused = _refusal(status)
    if refused is not None:
        return refused
    if 300 <= status < 400:
        return Probed(Answer.OTHER, f"it redirects to {body.decode('utf-8', 'replace')[:200]!r}")
    if status != httpx.codes.OK:
        return Probed(Answer.OTHER, f"it answers with status {status}, which a Prefect server never does")
    if body.strip() == b"true" or cloud:
        return Probed(Answer.PREFECT)
    kind = "a page" if b"<" in body[:200] else "something else"
    return Probed(Answer.OTHER, f"it answers with {kind}, so it is not a Prefect server")


def _refusal(status: int) -> Probed | None:
    if status in {401, 403, 407}:
        who = "the proxy" if status == 407 else "it"
        return Probed(Answer.REFUSED, f"{who} refuses access (status {status})")
    return None


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    """What Prefect's client says of itself."""
    headers: dict[str, str] = {}
    custom = environment.get("PREFECT_CLIENT_CUSTOM_HEADERS")
    if custom:
        try:
            found: Any = json.loads(custom)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("PREFECT_CLIENT_CUSTOM_HEADERS is not a JSON object whose values are strings")
        headers |= found
    auth, key = environment.get("PREFECT_API_AUTH_STRING"), environment.get("PREFECT_API_KEY")
    if auth:
        headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
    elif key:
        headers["Authorization"] = f"Bearer {key}"
    if not all(name.isascii() and value.isascii() and value.isprintable() for name, value in headers.items()):
        raise ValueError("a header or key for it holds characters that are not allowed in a header")
    return headers


def _verify(environment: Mapping[str, str]) -> ssl.SSLContext | bool:
    if environment.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in _TRUE:
        return False
    file = environment.get("PREFECT_API_SSL_CERT_FILE")
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"the certificates in PREFECT_API_SSL_CERT_FILE ({file}) cannot be read: {error}") from error


def _base(api_url: str) -> str:
    """The address without a slash at its end.

    Raises:
        ValueError: it is none that can be asked.
    """
    try:
        url = httpx.URL(api_url)
        urlsplit(api_url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"it is not an address ({error})") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("it is not an address like http://HOST:PORT/api")
    return str(url).rstrip("/")


def _silence(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it does not respond in time"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy cannot reach it ({error})"
    if not isinstance(error, httpx.ConnectError):
        return f"it breaks off its answer ({type(error).__name__})"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted here ({cause.verify_message})"
        cause = cause.__cause__ or cause.__context__
    return "nothing responds at that address"
