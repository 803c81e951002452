"""Which machine takes a pod, and which of its devices: node selectors, taints and GPUs.

A pod of another zone stays Pending, and so does one that waits for a free GPU. Labels and taints are those that the
node has when it is asked, however it got them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tests.cloud.kubernetes_objects import Objects, Thing

GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as it joins."""

    name: str
    labels: dict[str, str]
    taints: tuple[dict[str, str], ...] = ()
    gpus: tuple[str, ...] = ()
    """Identifiers of its devices."""


class Scheduler:
    """The machines of a cluster, and who holds which device."""

    def __init__(self, objects: Objects, nodes: list[Node]) -> None:
        self.nodes = nodes
        self._objects = objects
        self._gpus = {node.name: node.gpus for node in nodes}
        self._busy: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        for node in nodes:
            spec = {"taints": list(node.taints)} if node.taints else {}
            objects.create("nodes", {"metadata": {"name": node.name, "labels": dict(node.labels)}, "spec": spec})

    def node_for(self, pod: Thing) -> str | None:
        """The name of the first that takes it."""
        nodes = list(self._objects.things["nodes"].values())
        return next((str(node["metadata"]["name"]) for node in nodes if _takes(node, pod)), None)

    def take_devices(self, pod: Thing, node: str) -> tuple[str, ...] | None:
        """As many devices of the node as the pod asks for; None where too few are free."""
        limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
        count = int(limits.get(GPU, 0))
        with self._lock:
            taken = {device for devices in self._busy.values() for device in devices}
            free = [device for device in self._gpus[node] if device not in taken]
            if len(free) < count:
                return None
            self._busy[pod["metadata"]["name"]] = tuple(free[:count])
            return tuple(free[:count])

    def give_back(self, pod: Thing) -> None:
        with self._lock:
            self._busy.pop(pod["metadata"]["name"], None)

    def holders(self) -> list[tuple[str, str, int]]:
        """Pods that hold GPUs: name, node and how many."""
        owners = {device: node.name for node in self.nodes for device in node.gpus}
        with self._lock:
            return [(pod, owners[devices[0]], len(devices)) for pod, devices in self._busy.items() if devices]


def unschedulable(nodes: int, why: str) -> Thing:
    """The condition of a pod that waits."""
    message = f"0/{nodes} nodes are available: {why}"
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


def _takes(node: Thing, pod: Thing) -> bool:
    wanted, tolerated = pod["spec"].get("nodeSelector", {}), pod["spec"].get("tolerations", [])
    return wanted.items() <= node["metadata"].get("labels", {}).items() and all(
        any(_tolerates(one, taint) for one in tolerated) for taint in node["spec"].get("taints", ())
    )


def _tolerates(toleration: dict[str, str], taint: dict[str, str]) -> bool:
    operator, value = toleration.get("operator", "Equal"), toleration.get("value", "")
    return (
        toleration["key"] == taint["key"]
        and toleration.get("effect", "NoSchedule") == taint["effect"]
        and (operator == "Exists" or value == taint["value"])
    )
