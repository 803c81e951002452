"""A Kubernetes cluster without Kubernetes: what becomes of objects once the API server has them.

Here stands in for the controllers: Jobs (one pod a Job; `backoffLimit` counts the restarts of its container, as
`restartPolicy` says), and with `kubernetes_deployments`, `kubernetes_stateful_sets` and `kubernetes_services` what the
chart needs.
The machines are in `kubernetes_machines`. `kubernetes_api.py` is the door to it, and can be closed and opened while the
pods go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from tests.cloud.kubernetes_deployments import Deployments
from tests.cloud.kubernetes_machines import Machines
from tests.cloud.kubernetes_objects import JOBS, PODS, SERVICES, Thing, encoded, now
from tests.cloud.kubernetes_scheduler import Node
from tests.cloud.kubernetes_services import Services
from tests.cloud.kubernetes_stateful_sets import StatefulSets

__all__ = ["JOBS", "PODS", "Cluster", "Node", "Thing"]


class Cluster(Machines):
    """Objects, machines and controllers, running until `end`."""

    def __init__(
        self,
        folder: Path,
        nodes: list[Node],
        claims: Callable[[str, str], Path],
        secrets: dict[tuple[str, str], dict[str, str]] | None = None,
    ) -> None:
        """`secrets`: contents by namespace and name; they and their namespaces are there from the beginning."""
        super().__init__(folder, nodes, claims)
        self._services = Services(self)
        self._controllers = [Deployments(self), StatefulSets(self)]
        for namespace in sorted({namespace for namespace, _ in secrets or {}}):
            self.create("namespaces", {"metadata": {"name": namespace}})
        for (namespace, name), content in (secrets or {}).items():
            data = {key: encoded(value) for key, value in content.items()}
            self.create("secrets", {"metadata": {"name": name}, "data": data}, namespace)

    def admit(self, kind: str, thing: Thing) -> None:
        super().admit(kind, thing)
        if kind == SERVICES:
            thing["spec"]["clusterIP"] = self.addresses.next()
        elif kind == JOBS:
            uid = thing["metadata"]["uid"]
            thing["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
            thing["status"] = {"active": 1, "startTime": now()}

    def create(self, kind: str, thing: Thing, namespace: str = "") -> Thing:
        made = super().create(kind, thing, namespace)
        if kind == JOBS:
            self._create_pod_of(made)
        elif kind == SERVICES:
            self._services.open(made)
        return made

    def delete(self, kind: str, namespace: str, name: str, grace_s: float | None = None) -> None:
        """Deletes an object; pods end in the background, and so do those of whatever owns some."""
        thing = self.get(kind, namespace, name)
        if kind == PODS:
            threading.Thread(target=self.end_pod, args=(thing, grace_s), daemon=True).start()
        elif kind == JOBS:
            threading.Thread(target=self._end_job, args=(thing, grace_s), daemon=True).start()
        else:
            self.forget(kind, thing)

    def forget(self, kind: str, thing: Thing) -> None:
        super().forget(kind, thing)
        if kind == SERVICES:
            self._services.close_one(thing)
        elif kind == PODS:  # at once, where its namespace has gone
            container = self.containers.get(thing["metadata"]["name"])
            if container is not None and container.is_running:
                container.kill()

    def end(self) -> None:
        for controller in self._controllers:
            controller.close()
        super().end()
        self._services.close()

    def pods_of(self, owner: Thing) -> list[Thing]:
        """In the order in which they were made."""
        uid = owner["metadata"]["uid"]
        with self.lock:
            pods = list(self.things[PODS].values())
        return [pod for pod in pods if uid in {one["uid"] for one in pod["metadata"].get("ownerReferences", ())}]

    def restarts_at_most(self, pod: Thing) -> int:
        job = self._job_of(pod)
        return 0 if job is None else int(job["spec"].get("backoffLimit", 6))

    def pod_ended(self, pod: Thing, *, succeeded: bool) -> None:
        job = self._job_of(pod)
        if job is None:  # deleted meanwhile
            return
        ended = {"conditions": [{"type": "Complete" if succeeded else "Failed", "status": "True"}], "active": 0}
        ended |= {"succeeded": 1, "completionTime": now()} if succeeded else {"failed": 1}
        job["status"] = {**job["status"], **ended}
        self.put(JOBS, job)

    def _job_of(self, pod: Thing) -> Thing | None:
        name = pod["metadata"]["labels"].get("batch.kubernetes.io/job-name", "")
        return self.things[JOBS].get((pod["metadata"]["namespace"], name))

    def _create_pod_of(self, job: Thing) -> None:
        meta, template = job["metadata"], deepcopy(job["spec"]["template"])
        labels = {**template.get("metadata", {}).get("labels", {}), "job-name": meta["name"]}
        labels |= {"batch.kubernetes.io/job-name": meta["name"], "batch.kubernetes.io/controller-uid": meta["uid"]}
        # Prefect labels the Job; the pods get them through its template.
        labels |= {name: value for name, value in meta.get("labels", {}).items() if name.startswith("prefect.io/")}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        about = {"generateName": f"{meta['name']}-", "labels": labels, "ownerReferences": [owner]}
        self.create(PODS, {"metadata": about, "spec": template["spec"]}, meta["namespace"])

    def _end_job(self, job: Thing, grace_s: float | None) -> None:
        for pod in self.pods_of(job):
            self.end_pod(pod, grace_s)
        self.forget(JOBS, job)
