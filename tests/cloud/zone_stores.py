"""A store for each zone: S3 of moto for the public one, SeaweedFS for the private one, a folder for the isolated one.

The S3 stores stand behind a proxy that can fail; what tests look at goes past it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from faceflow.zones import Zone
from tests.stores import services
from tests.stores.proxy import Proxy, running_proxy

PUBLIC_BUCKET = "public-media"
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": services.KEY,
    "AWS_SECRET_ACCESS_KEY": services.SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class ZoneStore:
    """The store of a zone.

    Attributes:
        address: of the store; inputs lie below `in`, results below `out`.
        endpoint: of S3, through the proxy; None: a folder.
    """

    zone: Zone
    address: str
    endpoint: str | None = None
    proxy: Proxy | None = None

    def variables(self) -> dict[str, str]:
        """How a pool's jobs find it, as stores `media` and `results`."""
        found = {}
        for name, below in (("MEDIA", "in"), ("RESULTS", "out")):
            prefix = f"FACEFLOW_STORES__NAMED__{name}__"
            found |= {f"{prefix}ADDRESS": f"{self.address}/{below}", f"{prefix}ZONE": str(self.zone)}
            if self.endpoint is not None:
                found |= {f"{prefix}ENDPOINT": self.endpoint}
        return found

    def put(self, path: Path) -> None:
        """An input, as `store://media/NAME`."""
        if self.endpoint is None:
            folder = Path(self.address.removeprefix("file://")) / "in"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).write_bytes(path.read_bytes())
            return
        self._client().upload_file(str(path), self._bucket, f"{self._prefix}in/{path.name}")

    def results(self) -> dict[str, bytes]:
        """Everything that was delivered, by its name below `out`."""
        if self.endpoint is None:
            folder = Path(self.address.removeprefix("file://")) / "out"
            paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
            return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        client, prefix = self._client(), f"{self._prefix}out/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): client.get_object(Bucket=self._bucket, Key=key)["Body"].read() for key in keys
        }

    @property
    def _bucket(self) -> str:
        return self.address.removeprefix("s3://").partition("/")[0]

    @property
    def _prefix(self) -> str:
        below = self.address.removeprefix("s3://").partition("/")[2]
        return f"{below}/" if below else ""

    def _client(self) -> Any:
        """Past the proxy: what tests look at cannot fail."""
        assert self.proxy is not None
        return boto3.client(
            "s3", endpoint_url=self.proxy.upstream, region_name="us-east-1", aws_access_key_id=services.KEY,
            aws_secret_access_key=services.SECRET, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip


@contextmanager
def running_stores(folder: Path, amazon_url: str) -> Iterator[dict[Zone, ZoneStore]]:
    """The stores while the block lasts; the public one lies in Amazon's bucket PUBLIC_BUCKET."""
    with ExitStack() as stack:
        seaweed_folder = folder / "seaweed"
        seaweed_folder.mkdir()
        seaweed = stack.enter_context(services.seaweed(seaweed_folder))
        stores = {}
        for zone, address, upstream in (
            (Zone.PUBLIC, f"s3://{PUBLIC_BUCKET}", amazon_url),
            (Zone.PRIVATE, f"s3://{services.FIRST}/private", seaweed),
        ):
            proxy = stack.enter_context(running_proxy(upstream))
            stores[zone] = ZoneStore(zone, address, proxy.url, proxy)
        stores[Zone.ISOLATED] = ZoneStore(Zone.ISOLATED, f"file://{folder / 'isolated-store'}")
        for name in ("in", "out"):
            (folder / "isolated-store" / name).mkdir(parents=True)
        yield stores
