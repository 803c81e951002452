"""What controllers of pods have in common: they look again and again at what is asked for, and bring the pods to it."""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from copy import deepcopy
from typing import TYPE_CHECKING

from tests.cloud.kubernetes_objects import KINDS, PODS, Thing

if TYPE_CHECKING:
    from tests.cloud.kubernetes_cluster import Cluster

LOOK_S = 0.5


class Controller(ABC):
    """One thread that serves the objects of one kind; their pods go when they go.

    Attributes:
        plural: the kind.
        label: of each pod, the hash of the template that it was made of.
    """

    plural: str
    label: str

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(30)

    @abstractmethod
    def bring(self, owner: Thing) -> None:
        """Takes the next step from the pods that there are to those that `owner` asks for."""

    def create_pod(self, owner: Thing, about: Thing, volumes: list[Thing]) -> Thing:
        """A pod of the owner's template; `about` names it, `volumes` come to those of the template."""
        meta, template = owner["metadata"], deepcopy(owner["spec"]["template"])
        kind = KINDS[self.plural]
        reference = {
            "apiVersion": kind.group_version, "kind": kind.name, "name": meta["name"], "uid": meta["uid"],
            "controller": True,
        }  # fmt: skip
        labels = {**template["metadata"]["labels"], self.label: hash_of(owner)}
        spec = template["spec"]
        spec["volumes"] = [*spec.get("volumes", ()), *volumes]
        about = {**about, "labels": labels, "ownerReferences": [reference]}
        return self.cluster.create(PODS, {"metadata": about, "spec": spec}, meta["namespace"])

    def is_current(self, owner: Thing, pod: Thing) -> bool:
        """Whether the pod was made of the template as it is now."""
        return bool(pod["metadata"]["labels"][self.label] == hash_of(owner))

    def end_pod(self, pod: Thing) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            self.cluster.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def tell(self, owner: Thing, status: Thing) -> None:
        """Puts the status down, unless the owner was changed or deleted since."""
        status = {"observedGeneration": owner["metadata"]["generation"], **status}
        with self.cluster.lock:
            meta = owner["metadata"]
            now = self.cluster.things[self.plural].get((meta["namespace"], meta["name"]))
            if now is owner and owner.get("status") != status:
                owner["status"] = status
                self.cluster.put(self.plural, owner)

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_S):
            with self.cluster.lock:
                owners = list(self.cluster.things[self.plural].values())
                known = {one["metadata"]["uid"] for one in owners}
                pods = list(self.cluster.things[PODS].values())
            for pod in pods:
                if self._owner_of(pod) not in {"", *known}:
                    self.end_pod(pod)
            for owner in owners:
                self.bring(owner)

    def _owner_of(self, pod: Thing) -> str:
        owners = pod["metadata"].get("ownerReferences", ())
        return next((one["uid"] for one in owners if one["kind"] == KINDS[self.plural].name), "")


def hash_of(owner: Thing) -> str:
    """Tells templates apart."""
    return hashlib.sha256(json.dumps(owner["spec"]["template"], sort_keys=True).encode()).hexdigest()[:10]
