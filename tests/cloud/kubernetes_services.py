"""Services: an address that passes TCP connections on to the ready pods that its selector fits, one after the other.

Real are the choice of pods and the named ports; a forwarder in this process stands in for what the nodes' network does.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from itertools import count

from tests.cloud.kubernetes_objects import PODS, Objects, Thing


class Services:
    """The forwarders of a cluster's services."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._turn = count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: dict[str, list[asyncio.Server]] = {}

    def open(self, service: Thing) -> None:
        asyncio.run_coroutine_threadsafe(self._listen(service), self._loop).result(30)

    def close_one(self, service: Thing) -> None:
        """Listens no more; connections that are open stay so."""
        for server in self._open.pop(service["metadata"]["uid"], []):
            self._loop.call_soon_threadsafe(server.close)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        for servers in self._open.values():
            for server in servers:
                server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _listen(self, service: Thing) -> None:
        servers = self._open.setdefault(service["metadata"]["uid"], [])
        for port in service["spec"]["ports"]:

            async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: Thing = port) -> None:
                await self._pass_on(service, port, reader, writer)

            servers.append(await asyncio.start_server(pass_on, service["spec"]["clusterIP"], port["port"]))

    async def _pass_on(
        self, service: Thing, port: Thing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pods = self._ready_pods(service)
        try:
            if pods:
                pod = pods[next(self._turn) % len(pods)]
                there = await asyncio.open_connection(pod["status"]["podIP"], _port_of(pod, port))
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        except (OSError, asyncio.CancelledError):  # the pod or the cluster has gone: the client sees its connection end
            pass
        finally:
            writer.close()

    def _ready_pods(self, service: Thing) -> list[Thing]:
        selector, namespace = service["spec"]["selector"], service["metadata"]["namespace"]
        with self._objects.lock:
            return [
                pod
                for (where, _), pod in self._objects.things[PODS].items()
                if where == namespace and selector.items() <= pod["metadata"]["labels"].items() and is_ready(pod)
            ]


def is_ready(pod: Thing) -> bool:
    """Takes work: ready, and not about to go."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _port_of(pod: Thing, port: Thing) -> int:
    wanted = port.get("targetPort", port["port"])
    named = {one.get("name"): one["containerPort"] for one in pod["spec"]["containers"][0].get("ports", ())}
    return int(named.get(wanted, wanted))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
