"""Network policies, held against the connections that were really made.

Nothing is blocked here: all pods share one machine. Instead, each established connection of a container is put down
while it lasts, and the policies of both ends are asked whether a network plugin would have let it through. What the
sockets say of an address becomes what it is in the cluster: a pod, the ready pods behind a service, or an address
outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import psutil

from tests.cloud.containers import Container
from tests.cloud.kubernetes_objects import PODS, SERVICES, Objects, Thing, selects

COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Place:
    """One end of a connection: a pod by its namespace and labels, or an address outside the cluster."""

    address: str = ""
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it."""
        labels = dict(self.labels)
        return self.address or labels.get(COMPONENT) or f"job of {labels['faceflow.io/pool']}"


@dataclass(frozen=True)
class Connection:
    """From a pod to a port of a pod or of an address outside."""

    source: Place
    target: Place
    port: int


class Network:
    """What was seen, and what the policies say to it."""

    def __init__(self, objects: Objects, containers: dict[str, Container]) -> None:
        self._objects = objects
        self._containers = containers
        self.seen: set[Connection] = set()

    def look(self) -> None:
        """Puts down the connections of this moment."""
        with self._objects.lock:
            pods = [pod for pod in self._objects.things[PODS].values() if "podIP" in pod["status"]]
            services = list(self._objects.things[SERVICES].values())
        by_address = {pod["status"]["podIP"]: pod for pod in pods}
        names = {one["spec"]["clusterIP"]: one["spec"]["selector"] for one in services}
        for pod in pods:
            for address, port in self._outgoing(pod):
                if address in names:  # the service has the pods' port
                    behind = [one for one in pods if names[address].items() <= one["metadata"]["labels"].items()]
                    targets = [place_of(one) for one in behind]
                else:
                    targets = [place_of(by_address[address]) if address in by_address else Place(address)]
                self.seen |= {Connection(place_of(pod), target, port) for target in targets}

    def _outgoing(self, pod: Thing) -> Iterator[tuple[str, int]]:
        container, own = self._containers.get(pod["metadata"]["name"]), pod["status"]["podIP"]
        if container is None or not container.is_running:
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(container.process.pid)
            tree = [process, *process.children(recursive=True)]
            inside = {one.laddr for each in tree for one in each.net_connections("tcp")}
            for one in [one for each in tree for one in each.net_connections("tcp")]:
                if one.status == psutil.CONN_ESTABLISHED and one.laddr.ip != own and one.raddr not in inside:
                    yield one.raddr.ip, one.raddr.port

    def allows(self, connection: Connection) -> bool:
        """Whether the policies of both ends let it through."""
        return self._allows("Egress", connection.source, connection.target, connection.port) and (
            bool(connection.target.address)
            or self._allows("Ingress", connection.target, connection.source, connection.port)
        )

    def _allows(self, direction: str, subject: Place, peer: Place, port: int) -> bool:
        policies = [
            policy["spec"]
            for (namespace, _), policy in self._objects.things["networkpolicies"].items()
            if namespace == subject.namespace
            and direction in policy["spec"]["policyTypes"]
            and selects(policy["spec"]["podSelector"], dict(subject.labels))
        ]
        ways = {"Egress": ("egress", "to"), "Ingress": ("ingress", "from")}[direction]
        rules = [rule for policy in policies for rule in policy.get(ways[0], ())]
        return not policies or any(
            port in {one["port"] for one in rule["ports"]}
            and any(self._is(one, peer, subject.namespace) for one in rule[ways[1]])
            for rule in rules
        )

    def _is(self, selector: Thing, place: Place, here: str) -> bool:
        if "ipBlock" in selector:
            return bool(place.address) and ip_address(place.address) in ip_network(selector["ipBlock"]["cidr"])
        if place.address or not selects(selector.get("podSelector", {}), dict(place.labels)):
            return False
        if "namespaceSelector" not in selector:
            return place.namespace == here
        labels = self._objects.get("namespaces", "", place.namespace)["metadata"]["labels"]
        return selects(selector["namespaceSelector"], labels)


def place_of(pod: Thing) -> Place:
    return Place("", pod["metadata"]["namespace"], tuple(sorted(pod["metadata"]["labels"].items())))
