"""What differs from one storage service to another, and how patient all of them are asked."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from faceflow.errors import StoreSetupError
from faceflow.infrastructure.proxies import require_usable_proxy
from faceflow.infrastructure.stores.pieces import Payload
from faceflow.infrastructure.stores.store_settings import StoreSettings
from faceflow.installation import installation
from faceflow.store import Watcher

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

CHECKSUM = "faceflowsha256"
"""Name of the metadata that keeps the checksum: letters and digits only, because Azure takes nothing else."""


class Service(Protocol):
    """One bucket of one service. Every method may raise `RefusedError`."""

    @property
    def objects(self) -> AzureStore | GCSStore | S3Store:
        """The bucket in obstore, for everything that all services do alike."""
        ...

    def upload(self, payload: Payload, key: str, watch: Watcher | None) -> None:
        """Publishes the payload under `key`: whole, with its checksum as metadata, verified, or not at all.

        Raises:
            StoreError: `store.checksum`.
        """
        ...

    def link(self, key: str, valid_for: timedelta) -> str:
        """An address that opens the object for a while."""
        ...


def client_options(settings: StoreSettings, endpoint: str | None) -> ClientConfig:
    """How obstore connects. Without TLS only where the endpoint says so.

    Raises:
        ResourceError: `fault.proxy_unusable`.
    """
    require_usable_proxy(endpoint or "https:")
    return {
        "timeout": timedelta(seconds=settings.timeout_s),
        "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
        "allow_http": (endpoint or "").startswith("http://"),
        "user_agent": "faceflow",
    }


def retry_options(settings: StoreSettings) -> RetryConfig:
    """How obstore repeats requests: pauses from a fifth of a second to ten seconds."""
    return {
        "max_retries": settings.attempts - 1,
        "retry_timeout": timedelta(seconds=settings.timeout_s * settings.attempts),
        "backoff": {
            "init_backoff": timedelta(seconds=0.2),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }


def require_package(module: str, extra: str, store: str) -> None:
    """Raises `store.extra_missing` where what talks to the service is not installed."""
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is not there either
        found = False
    if not found:
        raise StoreSetupError(
            "store.extra_missing",
            f"The packages that {store} needs are not installed.",
            f"{installation().with_extra(extra)}.",
        )
