"""What sources that speak HTTP share: a client that is bounded in time, and failures in plain words.

Stores of rules stand inside a company's network: proxies and `.netrc` of the environment are not looked at, so that a
token goes to the store and nowhere else. Redirects are not followed, for the same reason.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from faceflow.infrastructure.sources.rules.rule_source import RuleSourceError
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings

REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


def http_client(settings: RuleSourceSettings, *, encrypted: bool) -> httpx.AsyncClient:
    """A client for a store. Certificates are those of the settings, or the machine's.

    Raises:
        RuleSourceError: a certificate file of the settings cannot be used.
    """
    verify: ssl.SSLContext | bool = True
    if encrypted:
        try:
            verify = ssl.create_default_context(cafile=settings.tls_authority)
            if settings.tls_certificate is not None:
                verify.load_cert_chain(settings.tls_certificate, settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise RuleSourceError(f"the configured certificate files cannot be used ({error})") from None
    return httpx.AsyncClient(timeout=settings.timeout_s, verify=verify, trust_env=False, follow_redirects=False)


@contextmanager
def told() -> Iterator[None]:
    """Turns the client's errors into `RuleSourceError`. Addresses and headers stay out of the words."""
    try:
        yield
    except httpx.TimeoutException:
        raise RuleSourceError("it does not respond in time") from None
    except httpx.ConnectError as error:
        raise RuleSourceError(f"it cannot be reached ({error})") from None
    except httpx.TransportError as error:
        raise RuleSourceError(f"the connection broke ({type(error).__name__})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # JSON that is none, or not what was asked for
        raise RuleSourceError(f"its answer cannot be understood ({type(error).__name__})") from None
