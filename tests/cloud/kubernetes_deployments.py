"""The controller of Deployments: as many pods as asked for, of the template as it is now.

A changed template rolls over: a new pod more than asked for at a time, and an old one goes when a new one is ready
(`Recreate`: all old ones go first). No ReplicaSets lie between; their hash labels the pods.
"""

from __future__ import annotations

import hashlib
import json
import threading
from copy import deepcopy
from typing import TYPE_CHECKING

from tests.cloud.kubernetes_objects import DEPLOYMENTS, PODS, Thing
from tests.cloud.kubernetes_services import is_ready

if TYPE_CHECKING:
    from tests.cloud.kubernetes_cluster import Cluster

LOOK_S = 0.5
HASH = "pod-template-hash"


class Deployments:
    """One thread that brings pods to what Deployments say."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_S):
            with self._cluster.lock:
                deployments = list(self._cluster.things[DEPLOYMENTS].values())
                known = {one["metadata"]["uid"] for one in deployments}
                orphans = [
                    pod for pod in self._cluster.things[PODS].values() if _deployment_of(pod) not in {"", *known}
                ]
            for pod in orphans:
                self._end(pod)
            for deployment in deployments:
                self._bring(deployment)

    def _bring(self, deployment: Thing) -> None:
        spec, wanted = deployment["spec"], deployment["spec"]["replicas"]
        current = _hash(spec["template"])
        pods = [pod for pod in self._cluster.pods_of(deployment) if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in pods if pod["metadata"]["labels"][HASH] == current]
        old = [pod for pod in pods if pod not in new]
        if old and spec.get("strategy", {}).get("type") == "Recreate":
            for pod in old:
                self._end(pod)
            return
        room = wanted + (1 if old else 0) - len(pods)
        for _ in range(min(room, wanted - len(new))):
            new.append(self._create(deployment, current))
        surplus = sum(is_ready(pod) for pod in [*new, *old]) - wanted
        for pod in sorted(old, key=is_ready):
            if not is_ready(pod) or surplus > 0:
                surplus -= is_ready(pod)
                self._end(pod)
        for pod in new[wanted:]:
            self._end(pod)
        ready = sum(is_ready(pod) for pod in [*new, *old])
        status = {
            "observedGeneration": deployment["metadata"]["generation"], "replicas": len(new) + len(old),
            "updatedReplicas": len(new), "readyReplicas": ready, "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
            "conditions": [{"type": "Available", "status": str(ready >= wanted)}],
        }  # fmt: skip
        with self._cluster.lock:
            meta = deployment["metadata"]
            # It may have been changed or deleted since.
            now = self._cluster.things[DEPLOYMENTS].get((meta["namespace"], meta["name"]))
            if now is deployment and deployment.get("status") != status:
                deployment["status"] = status
                self._cluster.put(DEPLOYMENTS, deployment)

    def _create(self, deployment: Thing, current: str) -> Thing:
        meta, template = deployment["metadata"], deepcopy(deployment["spec"]["template"])
        owner = {
            "apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"], "controller": True,
        }  # fmt: skip
        labels = {**template["metadata"]["labels"], HASH: current}
        about = {"generateName": f"{meta['name']}-{current}-", "labels": labels, "ownerReferences": [owner]}
        return self._cluster.create(PODS, {"metadata": about, "spec": template["spec"]}, meta["namespace"])

    def _end(self, pod: Thing) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            self._cluster.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])


def _hash(template: Thing) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _deployment_of(pod: Thing) -> str:
    owners = pod["metadata"].get("ownerReferences", ())
    return next((one["uid"] for one in owners if one["kind"] == "Deployment"), "")
