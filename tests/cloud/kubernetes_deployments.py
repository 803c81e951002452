"""The controller of Deployments: as many pods as asked for, of the template as it is now.

A changed template rolls over: a new pod more than asked for at a time, and an old one goes when a new one is ready
(`Recreate`: all old ones go first). No ReplicaSets lie between; their hash labels the pods.
"""

from __future__ import annotations

from tests.cloud.kubernetes_controllers import Controller, hash_of
from tests.cloud.kubernetes_objects import DEPLOYMENTS, Thing
from tests.cloud.kubernetes_services import is_ready


class Deployments(Controller):
    """One thread that brings pods to what Deployments say."""

    plural = DEPLOYMENTS
    label = "pod-template-hash"

    def bring(self, owner: Thing) -> None:
        spec, wanted = owner["spec"], owner["spec"]["replicas"]
        pods = [pod for pod in self.cluster.pods_of(owner) if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in pods if self.is_current(owner, pod)]
        old = [pod for pod in pods if pod not in new]
        if old and spec.get("strategy", {}).get("type") == "Recreate":
            for pod in old:
                self.end_pod(pod)
            return
        room = wanted + (1 if old else 0) - len(pods)
        about = {"generateName": f"{owner['metadata']['name']}-{hash_of(owner)}-"}
        for _ in range(min(room, wanted - len(new))):
            new.append(self.create_pod(owner, about, []))
        surplus = sum(is_ready(pod) for pod in [*new, *old]) - wanted
        for pod in sorted(old, key=is_ready):
            if not is_ready(pod) or surplus > 0:
                surplus -= is_ready(pod)
                self.end_pod(pod)
        for pod in new[wanted:]:
            self.end_pod(pod)
        ready = sum(is_ready(pod) for pod in [*new, *old])
        self.tell(owner, {
            "replicas": len(new) + len(old), "updatedReplicas": len(new), "readyReplicas": ready,
            "availableReplicas": ready, "unavailableReplicas": max(0, wanted - ready),
            "conditions": [{"type": "Available", "status": str(ready >= wanted)}],
        })  # fmt: skip
