"""Stores of every kind, each on a bucket of its own in a service that the whole session shares."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.addresses import Place
from faceflow.infrastructure.stores.resolve import store_at
from faceflow.infrastructure.stores.store_settings import StoreConnection, StoreSettings
from faceflow.settings import PathSettings, PipelineSettings
from faceflow.store import Store
from faceflow.zones import Zone
from tests.stores import services
from tests.stores.proxy import Proxy, running_proxy

MiB = 2**20


@dataclass
class Bucket:
    """A new bucket and how to make stores of it."""

    kind: str
    name: str
    settings: Settings
    fields: dict[str, Any]
    proxy: Proxy | None = None

    def store(self, **fields: Any) -> Store:
        """A store on the bucket, below the prefix `faces/of`."""
        wanted = {"address": f"{self.kind}://{self.name}/faces/of", "zone": Zone.PRIVATE, **self.fields, **fields}
        return store_at(Place("results", StoreConnection(**wanted)), self.settings)


def settings_of(folder: Path, **stores: Any) -> Settings:
    wanted = {"part_bytes": 5 * MiB, "parallel_parts": 2, "attempts": 4, "timeout_s": 10, **stores}
    return Settings(
        paths=PathSettings(state=folder / "state", scratch=folder / "scratch"),
        pipeline=PipelineSettings(keep_free_bytes=0),
        stores=StoreSettings(**wanted),
    )


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with services.moto() as url:
        yield url


@pytest.fixture(scope="session")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with services.seaweed(tmp_path_factory.mktemp("seaweed")) as url:
        yield url


@pytest.fixture(scope="session")
def azurite_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with services.azurite(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
def s3_fields() -> dict[str, Any]:
    return {"access_key_id": services.KEY, "secret_access_key": services.SECRET, "region": "us-east-1"}


@pytest.fixture
def moto_bucket(moto_url: str, tmp_path: Path, s3_fields: dict[str, Any]) -> Iterator[Bucket]:
    """A bucket of moto behind the proxy."""
    name = f"bucket-{secrets.token_hex(6)}"
    services.s3_client(moto_url).create_bucket(Bucket=name)
    with running_proxy(moto_url) as proxy:
        yield Bucket("s3", name, settings_of(tmp_path), {**s3_fields, "endpoint": proxy.url}, proxy)


@pytest.fixture
def seaweed_bucket(seaweed_url: str, tmp_path: Path, s3_fields: dict[str, Any]) -> Bucket:
    # Every bucket takes volumes of its own, of which a small server has few.
    name = f"{services.FIRST}/{secrets.token_hex(6)}"
    return Bucket("s3", name, settings_of(tmp_path), {**s3_fields, "endpoint": seaweed_url})


@pytest.fixture
def google_bucket(moto_url: str, tmp_path: Path) -> Iterator[Bucket]:
    name = f"bucket-{secrets.token_hex(6)}"
    services.s3_client(moto_url).create_bucket(Bucket=name)
    with running_proxy(moto_url, google=True) as proxy:
        account = services.google_account(tmp_path, proxy.url)
        fields = {"service_account": account, "endpoint": proxy.url, "links": "none"}
        yield Bucket("gs", name, settings_of(tmp_path), fields, proxy)


@pytest.fixture
def azure_bucket(azurite_url: str, tmp_path: Path) -> Iterator[Bucket]:
    from azure.storage.blob import ContainerClient

    name = f"bucket-{secrets.token_hex(6)}"
    ContainerClient(azurite_url, name, credential=services.AZURE_KEY).create_container()
    with running_proxy(azurite_url.rpartition("/")[0]) as proxy:
        fields = {"account": services.AZURE_ACCOUNT, "account_key": services.AZURE_KEY}
        endpoint = f"{proxy.url}/{services.AZURE_ACCOUNT}"
        yield Bucket("az", name, settings_of(tmp_path), {**fields, "endpoint": endpoint}, proxy)


@pytest.fixture
def folder_bucket(tmp_path: Path) -> Bucket:
    (tmp_path / "store").mkdir()
    return Bucket("file", "", settings_of(tmp_path), {"address": f"file://{tmp_path / 'store'}"})


KINDS = [
    "folder",
    "moto",
    "seaweed",
    "google",
    pytest.param("azure", marks=pytest.mark.full),  # azurite is 186 MB of npm packages
]


@pytest.fixture
def bucket_of(request: pytest.FixtureRequest) -> Callable[[str], Bucket]:
    """The bucket of a kind: `moto`, `seaweed`, `google`, `azure`, `folder`."""
    return lambda kind: request.getfixturevalue(f"{kind}_bucket")


@pytest.fixture(params=KINDS)
def bucket(request: pytest.FixtureRequest, bucket_of: Callable[[str], Bucket]) -> Bucket:
    """A bucket of every kind in turn."""
    return bucket_of(request.param)
