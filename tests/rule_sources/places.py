"""The four kinds of sources behind one face: put a text, take it away, make the place go away and come back."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml

from tests.servers import PYTHON, Forwarder, free_port, running, running_etcd

KEY = "faceflow/rules"


@dataclass
class Place:
    """A source from the operator's side.

    Attributes:
        address: as in FACEFLOW_ROUTING__RULES.
        put: writes a text past faceflow, as an operator's own tool does.
        delete: takes the text away.
        go_away, come_back: the store itself.
    """

    address: str
    put: Callable[[str], None]
    delete: Callable[[], None]
    go_away: Callable[[], None]
    come_back: Callable[[], None]


@contextmanager
def file_place(folder: Path) -> Iterator[Place]:
    """A file on a share that can be unmounted."""
    share, hidden = folder / "share", folder / "hidden"
    share.mkdir()
    path = share / "rules.yaml"
    yield Place(str(path), path.write_text, path.unlink, lambda: share.rename(hidden), lambda: hidden.rename(share))


@contextmanager
def etcd_place(folder: Path) -> Iterator[Place]:
    """A real etcd."""
    with running_etcd(folder / "etcd") as (server, host):

        def call(what: str, **request: str) -> None:
            key = b64encode(KEY.encode()).decode()
            httpx.post(f"http://{host}/v3/kv/{what}", json={"key": key, **request}, trust_env=False).raise_for_status()

        yield Place(
            f"etcd://{host}/{KEY}",
            lambda text: call("put", value=b64encode(text.encode()).decode()),
            lambda: call("deleterange"),
            server.kill,
            server.start,
        )


@contextmanager
def consul_place(folder: Path, *token: str) -> Iterator[Place]:
    """A stand-in for Consul in a process of its own."""
    port = free_port()
    program = str(Path(__file__).with_name("consul_stand_in.py"))
    url = f"http://127.0.0.1:{port}"
    headers = {"X-Consul-Token": token[0]} if token else {}
    folder = folder / "consul"
    command = [PYTHON, program, str(port), str(folder / "kv.json"), *token]
    with running(command, f"{url}/v1/status/leader", folder) as server:
        kv = f"{url}/v1/kv/{KEY}"
        yield Place(
            f"consul://127.0.0.1:{port}/{KEY}",
            lambda text: httpx.put(kv, content=text, headers=headers, trust_env=False).raise_for_status(),
            lambda: httpx.delete(kv, headers=headers, trust_env=False).raise_for_status(),
            server.kill,
            server.start,
        )


@contextmanager
def block_place(api_url: str, name: str) -> Iterator[Place]:
    """A block on the suite's Prefect server, behind a network that can be cut."""
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

    network = Forwarder(urlsplit(api_url).port)
    network.start()

    def put(text: str) -> None:
        document = yaml.safe_load(text)
        with temporary_settings({PREFECT_API_URL: api_url}):
            asyncio.run(RoutingPolicy.from_document(document).asave(name, overwrite=True))

    def delete() -> None:
        with temporary_settings({PREFECT_API_URL: api_url}):
            asyncio.run(RoutingPolicy.adelete(name))

    ours = {
        PREFECT_API_URL: f"http://127.0.0.1:{network.port}/api",
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
    }
    try:
        with temporary_settings(ours):
            yield Place(f"block:{name}", put, delete, network.cut, network.start)
    finally:
        network.cut()
