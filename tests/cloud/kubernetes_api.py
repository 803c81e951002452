"""The API server of the cluster: objects created, read, listed, watched, changed and deleted, and logs of pods.

`kubectl`, helm, Prefect's worker and its observer are its clients; each shows a token (`kubernetes_rights`). It can be
stopped and started again on its port: clients lose their connections and watches, the cluster goes on.
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.cloud import kubernetes_wire
from tests.cloud.kubernetes_cluster import Cluster
from tests.cloud.kubernetes_discovery import discovery
from tests.cloud.kubernetes_objects import KINDS, Kind, RefusedError, Thing, merged
from tests.cloud.kubernetes_rights import write_kubeconfig
from tests.servers import free_port

WATCH_S = 60.0


@dataclass(frozen=True)
class Address:
    """What a request is about; an empty name: all of the kind, an empty namespace: all of them."""

    plural: str
    namespace: str
    name: str
    part: str

    @property
    def kind(self) -> Kind:
        return KINDS[self.plural]


class KubernetesApi:
    """Serves a cluster on 127.0.0.1.

    Attributes:
        requests: `METHOD path` of all that was asked for.
        refused: what was answered with 403, in words.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.port = free_port()
        cluster.api_url = self.url
        self.requests: list[str] = []
        self.refused: list[str] = []
        self._discovery = discovery()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._do(self._start())

    def stop(self) -> None:
        """Drops every connection and listens no more."""
        self._do(self._stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def write_kubeconfig(self, path: Path, namespace: str) -> Path:
        """For the administrator."""
        rights = self.cluster.rights
        return write_kubeconfig(path, self.url, rights.certificate.text, rights.token(), namespace)

    def _do(self, coroutine: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return done.result(60)

    async def _start(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.add_routes([web.route("*", "/{path:.*}", self._answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        tls = self.cluster.rights.certificate.context(self.cluster.folder)
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=tls).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            if request.path in self._discovery:
                self.cluster.rights.check(token, "", "", "get")
                return web.json_response(self._discovery[request.path])
            address = _address(request.path)
            resource = f"{address.plural}/{address.part}" if address.part else address.plural
            self.cluster.rights.check(token, address.namespace, resource, _verb(request, address))
            return await self._serve(request, address)
        except RefusedError as refusal:
            if refusal.code == 403:
                self.refused.append(str(refusal))
            return _status(refusal)

    async def _serve(self, request: web.Request, address: Address) -> web.StreamResponse:
        verb, cluster = _verb(request, address), self.cluster
        where = address.plural, address.namespace, address.name
        match verb:
            case "watch":
                return await self._watch(request, address)
            case "list":
                return self._list(request, address)
            case "get" if address.part == "log":
                return web.Response(body=cluster.log_of(address.namespace, address.name))
            case "get":
                return web.json_response(cluster.get(*where))
            case "create" if request.query.get("dryRun"):
                return web.json_response(await _body(request), status=201)
            case "create":
                made = cluster.create(address.plural, await _body(request), address.namespace)
                return web.json_response(made, status=201)
            case "update":
                return web.json_response(cluster.change(address.plural, cluster.get(*where), await _body(request)))
            case "patch":
                return await self._patch(request, address)
        options = await _body(request)
        grace = request.query.get("gracePeriodSeconds") or options.get("gracePeriodSeconds")
        cluster.delete(*where, None if grace is None else float(grace))
        return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 200})

    async def _patch(self, request: web.Request, address: Address) -> web.Response:
        patch, applied = await _body(request), request.content_type == "application/apply-patch+yaml"
        cluster = self.cluster
        with cluster.lock:
            old = cluster.things[address.plural].get((address.namespace, address.name))
            if old is None and applied:
                made = cluster.create(address.plural, patch, address.namespace)
                return web.json_response(made, status=201)
            if old is None:
                old = cluster.get(address.plural, address.namespace, address.name)
            # Here whoever applies owns the whole object
            new = {**patch, "metadata": merged(old["metadata"], patch["metadata"])} if applied else merged(old, patch)
            return web.json_response(cluster.change(address.plural, old, new))

    def _list(self, request: web.Request, address: Address) -> web.Response:
        cluster, kind = self.cluster, address.kind
        with cluster.lock:
            items = [one for one in cluster.things[address.plural].values() if _wanted(request, address, one)]
            meta = {"resourceVersion": str(cluster.version)}
            body = {"kind": f"{kind.name}List", "apiVersion": kind.group_version, "metadata": meta, "items": items}
            return web.Response(text=json.dumps(body), content_type="application/json")

    async def _watch(self, request: web.Request, address: Address) -> web.StreamResponse:
        if request.query.get("sendInitialEvents") == "true":  # clients list first then
            raise RefusedError(422, "Invalid", "sendInitialEvents is not known here")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        happened, loop = asyncio.Event(), asyncio.get_running_loop()

        def listener() -> None:
            loop.call_soon_threadsafe(happened.set)

        self.cluster.listeners.add(listener)
        seen = int(request.query.get("resourceVersion") or self.cluster.version)
        ends = loop.time() + float(request.query.get("timeoutSeconds") or WATCH_S)
        try:
            while loop.time() < ends:
                happened.clear()
                for number, plural, change, thing in self.cluster.history[seen:]:
                    seen = number
                    if plural == address.plural and _wanted(request, address, thing):
                        await response.write(json.dumps({"type": change, "object": thing}).encode() + b"\n")
                with suppress(TimeoutError):
                    await asyncio.wait_for(happened.wait(), min(5.0, max(0.01, ends - loop.time())))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.cluster.listeners.discard(listener)
        return response


def _address(path: str) -> Address:
    """`/api/v1/...` and `/apis/GROUP/VERSION/...`, then `[namespaces/NAMESPACE/]KIND[/NAME[/PART]]`."""
    parts = path.strip("/").split("/")
    version, rest = "/".join(parts[1:2]), parts[2:]
    if parts[0] == "apis":
        version, rest = "/".join(parts[1:3]), parts[3:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    plural, name, part = [*rest, "", "", ""][:3]
    if plural not in KINDS or KINDS[plural].group_version != version or part not in {"", "log"}:
        raise RefusedError(404, "NotFound", "the server could not find the requested resource")
    return Address(plural, namespace, name, part)


def _verb(request: web.Request, address: Address) -> str:
    """The word of Roles."""
    if request.method == "GET":
        if request.query.get("watch", "").lower() in {"true", "1"}:
            return "watch"
        return "get" if address.name else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]


async def _body(request: web.Request) -> Thing:
    if request.content_type == kubernetes_wire.CONTENT_TYPE and request.method != "DELETE":
        return kubernetes_wire.read(await request.read())
    if request.content_type == kubernetes_wire.CONTENT_TYPE:
        return {}
    text = await request.text()
    return dict(yaml.safe_load(text) if "yaml" in request.content_type else json.loads(text)) if text else {}


def _status(refusal: RefusedError) -> web.Response:
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(refusal),
        "reason": refusal.reason, "code": refusal.code,
    }  # fmt: skip
    return web.json_response(status, status=refusal.code)


def _wanted(request: web.Request, address: Address, thing: Thing) -> bool:
    """By namespace, name (the one field selector) and label selector: `key`, `key=value`, with commas between."""
    meta = thing["metadata"]
    if address.namespace and meta["namespace"] != address.namespace:
        return False
    field, _, name = request.query.get("fieldSelector", "").partition("=")
    if field == "metadata.name" and meta["name"] != name.lstrip("="):
        return False
    labels = meta.get("labels", {})
    for term in filter(None, request.query.get("labelSelector", "").split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value.lstrip("=")):
            return False
    return True
