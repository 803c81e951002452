"""A Kubernetes cluster without Kubernetes: what becomes of Jobs once the API server has them.

Three of its parts are imitated, each as far as Prefect's worker and our templates rely on it: the job controller (one
pod a Job, no second try, as `backoffLimit` says), the scheduler (node selectors and taints, so that a pod of another
zone stays Pending; GPUs, so that one waits for a free one) and the kubelet with NVIDIA's device plugin (containers as
processes, SIGTERM, grace and SIGKILL, exit codes, OOMKilled; a container is told which devices are its own).
`kubernetes_api.py` is the door to it, and can be closed and opened while the pods go on.
"""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cloud.containers import Container, until_ended

Thing = dict[str, Any]
JOBS, PODS = "jobs", "pods"
KINDS = {JOBS: ("Job", "batch/v1"), PODS: ("Pod", "v1")}
CONTAINER = "prefect-job"
GPU = "nvidia.com/gpu"
SMALL_DISK_BYTES = 4_000_000
"""The inputs fit, the work does not."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    name: str
    labels: dict[str, str]
    taints: tuple[dict[str, str], ...] = ()
    gpus: tuple[str, ...] = ()
    """Identifiers of its devices."""

    def takes(self, pod: Thing) -> bool:
        wanted = pod["spec"].get("nodeSelector", {})
        tolerated = pod["spec"].get("tolerations", [])
        return wanted.items() <= self.labels.items() and all(
            any(_tolerates(one, taint) for one in tolerated) for taint in self.taints
        )


@dataclass
class Cluster:
    """Everything that etcd and the machines know.

    Attributes:
        folder: where pods and volumes lie.
        nodes: machines.
        claims: folder of a volume claim, by namespace and name.
        secrets: content of a secret, by namespace and name.
        next_disk_is_small: the next pod lands on a machine with a disk that is too small for it.
    """

    folder: Path
    nodes: list[Node]
    claims: Callable[[str, str], Path]
    secrets: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    next_disk_is_small: bool = False
    on_container: Callable[[Container, Thing], None] = lambda container, pod: None
    things: dict[str, dict[tuple[str, str], Thing]] = field(default_factory=lambda: {JOBS: {}, PODS: {}})
    history: list[tuple[int, str, str, Thing]] = field(default_factory=list)
    containers: dict[str, Container] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    listeners: set[Callable[[], None]] = field(default_factory=set)
    _busy: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _mounted: list[Path] = field(default_factory=list)
    _reasons: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> int:
        return len(self.history)

    def create_job(self, namespace: str, job: Thing) -> Thing:
        """Keeps a Job and starts its pod, as the job controller does."""
        job = deepcopy(job)
        meta = job["metadata"]
        if "generateName" in meta:
            meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
        meta |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        job["status"] = {"active": 1, "startTime": _now()}
        with self.lock:
            self._put(JOBS, job)
        template = deepcopy(job["spec"]["template"])
        labels = {**template["metadata"].get("labels", {}), "job-name": meta["name"]}
        labels["batch.kubernetes.io/job-name"] = meta["name"]
        # Prefect labels the Job; the pods get them through its template.
        labels |= {name: value for name, value in meta.get("labels", {}).items() if name.startswith("prefect.io/")}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        pod = {
            "metadata": {
                "name": f"{meta['name']}-{uuid.uuid4().hex[:5]}", "namespace": namespace, "uid": str(uuid.uuid4()),
                "creationTimestamp": _now(), "labels": labels, "ownerReferences": [owner | {"controller": True}],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending", "conditions": []},
        }  # fmt: skip
        with self.lock:
            self._put(PODS, pod)
        threading.Thread(target=self._run, args=(pod, meta["name"]), daemon=True).start()
        return job

    def delete_job(self, namespace: str, name: str, grace_s: float | None) -> Thing | None:
        """Ends the Job's pods and forgets both, as with background propagation."""
        with self.lock:
            job = self.things[JOBS].get((namespace, name))
            pods = [one for one in self.things[PODS].values() if one["metadata"]["labels"].get("job-name") == name]
        if job is None:
            return None

        def end() -> None:
            for pod in pods:
                container = self.containers.get(pod["metadata"]["name"])
                if container is not None and container.is_running:
                    container.stop(_grace_s(pod) if grace_s is None else grace_s)
                self._forget(PODS, pod)
            self._forget(JOBS, job)

        threading.Thread(target=end, daemon=True).start()
        return job

    def holders(self) -> list[tuple[str, str, int]]:
        """Pods that hold GPUs: name, node and how many."""
        owners = {device: node.name for node in self.nodes for device in node.gpus}
        with self.lock:
            return [(pod, owners[devices[0]], len(devices)) for pod, devices in self._busy.items() if devices]

    def drain(self, container: Container) -> None:
        """A spot machine gets notice: its kubelet ends the pod, which has the grace of its template."""
        container.stop(_grace_s(self._pod_of(container)))

    def lose_node(self, container: Container) -> None:
        """A machine is gone without a word; the cluster's controllers find out, and the pod counts as failed."""
        self._reasons[container.folder.name] = "NodeLost"
        container.kill()

    def kill_for_memory(self, container: Container) -> None:
        """The kernel ends a container that is over its memory limit."""
        self._reasons[container.folder.name] = "OOMKilled"
        container.kill()

    def end(self) -> None:
        """Ends what still runs."""
        for container in list(self.containers.values()):
            if container.is_running:
                container.kill()
        for folder in self._mounted:
            subprocess.run(["umount", str(folder)], check=True)

    def _run(self, pod: Thing, job_name: str) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        node = next((one for one in self.nodes if one.takes(pod)), None)
        if node is None:
            message = f"0/{len(self.nodes)} nodes are available: node(s) didn't match Pod's node affinity/selector."
            unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            self._status(pod, {"phase": "Pending", "conditions": [unschedulable]})
            return
        spec = pod["spec"]["containers"][0]
        devices = self._devices(node, pod, int(spec.get("resources", {}).get("limits", {}).get(GPU, 0)))
        if devices is None:  # deleted while it waited
            return
        pod["spec"]["nodeName"] = node.name
        container = Container(
            self.folder / "pods" / name,
            [*spec.get("command", []), *spec["args"]],
            self._environment(namespace, spec) | ({"NVIDIA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}),
            self._mounts(pod, spec),
        )
        with self.lock:
            self.containers[name] = container
        self.on_container(container, pod)
        running = {"name": CONTAINER, "ready": True, "restartCount": 0, "state": {"running": {"startedAt": _now()}}}
        self._status(pod, {"phase": "Running", "startTime": _now(), "containerStatuses": [running]})
        code = until_ended(container)
        with self.lock:
            self._busy.pop(name, None)
        reason = self._reasons.get(name, "Completed" if code == 0 else "Error")
        ended = {"exitCode": code, "reason": reason, "finishedAt": _now(), "startedAt": _now()}
        status = {"name": CONTAINER, "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        phase = "Succeeded" if code == 0 else "Failed"
        self._status(pod, {"phase": phase, "containerStatuses": [status]})
        self._end_job(namespace, job_name, succeeded=code == 0)

    def _devices(self, node: Node, pod: Thing, count: int) -> tuple[str, ...] | None:
        """As many devices of the node as the pod asks for; waits until they are free. None: the pod was deleted."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        while True:
            with self.lock:
                if (namespace, name) not in self.things[PODS]:
                    return None
                taken = {device for devices in self._busy.values() for device in devices}
                free = [device for device in node.gpus if device not in taken]
                if len(free) >= count:
                    self._busy[name] = tuple(free[:count])
                    return self._busy[name]
                if pod["status"]["phase"] == "Pending" and not pod["status"]["conditions"]:
                    message = f"0/{len(self.nodes)} nodes are available: Insufficient {GPU}."
                    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
                    self._status(pod, {"conditions": [waits]})
            time.sleep(0.2)

    def _end_job(self, namespace: str, name: str, *, succeeded: bool) -> None:
        with self.lock:
            job = self.things[JOBS].get((namespace, name))
            if job is None:  # deleted meanwhile
                return
            kind = "Complete" if succeeded else "Failed"
            ended = {"conditions": [{"type": kind, "status": "True"}], "active": 0, "startTime": _now()}
            ended |= {"succeeded": 1, "completionTime": _now()} if succeeded else {"failed": 1}
            job["status"] = ended
            self._put(JOBS, job)

    def _environment(self, namespace: str, spec: Thing) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in spec.get("envFrom", []):
            found |= self.secrets[namespace, source["secretRef"]["name"]]
        for variable in spec.get("env", []):
            if "value" in variable:
                found[variable["name"]] = variable["value"]
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = self.secrets[namespace, reference["name"]][reference["key"]]
        return found

    def _mounts(self, pod: Thing, spec: Thing) -> dict[str, Path]:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if self.next_disk_is_small:
            self.next_disk_is_small = False
            self._small_disk(self.folder / "disks" / name)
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounts = {}
        # The longest first: `/models/.compiled` lies inside of `/models`.
        for mount in sorted(spec["volumeMounts"], key=lambda one: -len(one["mountPath"])):
            volume, point = volumes[mount["name"]], mount["mountPath"]
            if "persistentVolumeClaim" in volume:
                place = self.claims(namespace, volume["persistentVolumeClaim"]["claimName"])
            else:
                disk = self.folder / "disks" / name
                place = (
                    disk
                    if mount["name"] == "scratch" and disk.is_dir()
                    else self.folder / "pods" / name / mount["name"]
                )
            mounts[point] = place / mount.get("subPath", "")
        return mounts

    def _small_disk(self, folder: Path) -> None:
        """A file system of its own; needs the rights of root."""
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)], check=True)
        self._mounted.append(folder)

    def _pod_of(self, container: Container) -> Thing:
        with self.lock:
            return next(one for one in self.things[PODS].values() if one["metadata"]["name"] == container.folder.name)

    def _status(self, pod: Thing, status: Thing) -> None:
        with self.lock:
            pod["status"] = {**pod["status"], **status}
            if (pod["metadata"]["namespace"], pod["metadata"]["name"]) in self.things[PODS]:
                self._put(PODS, pod)

    def _put(self, kind: str, thing: Thing) -> None:
        key = thing["metadata"]["namespace"], thing["metadata"]["name"]
        self._tell(kind, "MODIFIED" if key in self.things[kind] else "ADDED", thing)
        self.things[kind][key] = thing

    def _forget(self, kind: str, thing: Thing) -> None:
        with self.lock:
            if self.things[kind].pop((thing["metadata"]["namespace"], thing["metadata"]["name"]), None) is not None:
                self._tell(kind, "DELETED", thing)

    def _tell(self, kind: str, change: str, thing: Thing) -> None:
        thing["metadata"]["resourceVersion"] = str(self.version + 1)
        self.history.append((self.version + 1, kind, change, deepcopy(thing)))
        for listener in list(self.listeners):
            listener()


def _grace_s(pod: Thing) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _tolerates(toleration: dict[str, str], taint: dict[str, str]) -> bool:
    operator, value = toleration.get("operator", "Equal"), toleration.get("value", "")
    return (
        toleration["key"] == taint["key"]
        and toleration.get("effect", "NoSchedule") == taint["effect"]
        and (operator == "Exists" or value == taint["value"])
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
