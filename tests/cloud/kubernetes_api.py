"""The API server of the cluster: batch/v1 Jobs and pods with list and watch, as Prefect's worker and its observer ask.

It can be stopped and started again on its port: clients lose their connections and watches, the cluster goes on.
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cloud.kubernetes_cluster import JOBS, KINDS, Cluster, Thing
from tests.servers import free_port

_VERBS = ["create", "delete", "get", "list", "patch", "watch"]
WATCH_S = 60.0


class KubernetesApi:
    """Serves a cluster on 127.0.0.1.

    Attributes:
        requests: `METHOD path` of all that was asked for.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.port = free_port()
        self.requests: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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
        """What a worker finds the cluster by."""
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "worker", "user": {"token": "not-a-secret"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "worker", "namespace": namespace}}],
        }))  # fmt: skip
        return path

    def _do(self, coroutine: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return done.result(60)

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._noted])
        app.add_routes([
            web.get("/version", _answer({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})),
            web.get("/api", _answer({"kind": "APIVersions", "versions": ["v1"]})),
            web.get("/apis", _answer({"kind": "APIGroupList", "groups": [_group("batch"), _group(_EXTENSIONS)]})),
            web.get("/api/v1", _answer(_resources("v1", Pod=True, Namespace=False, Event=True))),
            web.get("/apis/batch/v1", _answer(_resources("batch/v1", Job=True))),
            # The observer waits until it knows of these kinds, and then asks for none of them.
            web.get(f"/apis/{_EXTENSIONS}/v1", _answer(_resources(_EXTENSIONS, CustomResourceDefinition=False))),
            web.post("/api/v1/namespaces/{namespace}/events", _answer({})),
            web.get("/api/v1/{kind:pods}", self._list),
            web.get("/apis/batch/v1/{kind:jobs}", self._list),
            web.get("/api/v1/namespaces/{namespace}/{kind:pods}", self._list),
            web.get("/api/v1/namespaces/{namespace}/{kind:pods}/{name}/log", self._log),
            web.get("/apis/batch/v1/namespaces/{namespace}/{kind:jobs}", self._list),
            web.post("/apis/batch/v1/namespaces/{namespace}/jobs", self._create),
            web.get("/apis/batch/v1/namespaces/{namespace}/jobs/{name}", self._read),
            web.delete("/apis/batch/v1/namespaces/{namespace}/jobs/{name}", self._delete),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _list(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if request.query.get("watch", "").lower() in {"true", "1"}:
            return await self._watch(request, kind)
        cluster = self.cluster
        with cluster.lock:
            items = [one for one in cluster.things[kind].values() if _wanted(request, one)]
            name, version = KINDS[kind]
            meta = {"resourceVersion": str(cluster.version)}
            body = json.dumps({"kind": f"{name}List", "apiVersion": version, "metadata": meta, "items": items})
        return web.Response(text=body, content_type="application/json")

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        happened, loop = asyncio.Event(), asyncio.get_running_loop()

        def listener() -> None:
            loop.call_soon_threadsafe(happened.set)

        self.cluster.listeners.add(listener)
        seen = int(request.query.get("resourceVersion") or self.cluster.version)
        name, version = KINDS[kind]
        ends = loop.time() + float(request.query.get("timeoutSeconds") or WATCH_S)
        try:
            while loop.time() < ends:
                happened.clear()
                for number, of, change, thing in self.cluster.history[seen:]:
                    seen = number
                    if of == kind and _wanted(request, thing):
                        told = {"type": change, "object": {"kind": name, "apiVersion": version, **thing}}
                        await response.write(json.dumps(told).encode() + b"\n")
                with suppress(TimeoutError):
                    await asyncio.wait_for(happened.wait(), min(5.0, max(0.01, ends - loop.time())))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.cluster.listeners.discard(listener)
        return response

    async def _create(self, request: web.Request) -> web.Response:
        job = self.cluster.create_job(request.match_info["namespace"], await request.json())
        return web.json_response({"kind": "Job", "apiVersion": "batch/v1", **job}, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        found = self.cluster.things[JOBS].get((request.match_info["namespace"], request.match_info["name"]))
        return _missing() if found is None else web.json_response({"kind": "Job", "apiVersion": "batch/v1", **found})

    async def _delete(self, request: web.Request) -> web.Response:
        options = json.loads(await request.text() or "{}")
        grace = request.query.get("gracePeriodSeconds") or options.get("gracePeriodSeconds")
        where = request.match_info["namespace"], request.match_info["name"]
        found = self.cluster.delete_job(*where, None if grace is None else float(grace))
        return _missing() if found is None else web.json_response({"kind": "Status", "status": "Success"})

    async def _log(self, request: web.Request) -> web.Response:
        container = self.cluster.containers.get(request.match_info["name"])
        return _missing() if container is None else web.Response(body=container.log.read_bytes())


_EXTENSIONS = "apiextensions.k8s.io"


def _group(name: str) -> Thing:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(version: str, **kinds: bool) -> Thing:
    """Kinds, and whether they lie in namespaces."""
    listed = [
        {
            "name": f"{kind.lower()}s",
            "singularName": kind.lower(),
            "kind": kind,
            "namespaced": namespaced,
            "verbs": _VERBS,
        }
        for kind, namespaced in kinds.items()
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": listed}


def _answer(value: Thing) -> Any:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(value, status=201 if _request.method == "POST" else 200)

    return handler


def _missing() -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
    return web.json_response(status, status=404)


def _wanted(request: web.Request, thing: Thing) -> bool:
    """By namespace and label selector: `key`, `key=value`, with commas between."""
    namespace = request.match_info.get("namespace")
    if namespace is not None and thing["metadata"]["namespace"] != namespace:
        return False
    labels = thing["metadata"].get("labels", {})
    for term in filter(None, request.query.get("labelSelector", "").split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value.lstrip("=")):
            return False
    return True
