"""The machines of the cluster: what becomes of a pod, from its scheduling to its end.

Imitated are containers as processes with SIGTERM, grace and SIGKILL, exit codes and OOMKilled, restarts with a growing
pause, and NVIDIA's device plugin: a container is told which devices are its own.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

from tests.cloud.containers import Container
from tests.cloud.kubernetes_addresses import Addresses
from tests.cloud.kubernetes_kubelet import Attendant, arguments, variables
from tests.cloud.kubernetes_objects import PODS, Objects, RefusedError, Thing, now
from tests.cloud.kubernetes_rights import Rights, write_kubeconfig
from tests.cloud.kubernetes_scheduler import GPU, Node, Scheduler, unschedulable
from tests.cloud.kubernetes_volumes import Volumes

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 40.0
"""Before a container starts again: half of the kubelet's first pause, and then twice as long each time."""


class Machines(Objects, ABC):
    """Objects, and pods that run.

    Attributes:
        folder: where pods and volumes lie.
        api_url: where the API server listens, for pods with a token.
        volumes: what containers find mounted.
        on_container: told of each container that begins, and of its pod.
        containers: the running or last container of each pod, by the pod's name.
    """

    def __init__(self, folder: Path, nodes: list[Node], claims: Callable[[str, str], Path]) -> None:
        super().__init__()
        self.folder = folder
        self.volumes = Volumes(self, folder, claims)
        self.api_url = ""
        self.addresses = Addresses()
        self.rights = Rights(self)
        self.on_container: Callable[[Container, Thing], None] = lambda container, pod: None
        self.containers: dict[str, Container] = {}
        self.scheduler = Scheduler(self, nodes)
        self._reasons: dict[str, str] = {}

    def admit(self, kind: str, thing: Thing) -> None:
        super().admit(kind, thing)
        if kind == PODS:
            thing["status"] = {"phase": "Pending", "conditions": []}

    def create(self, kind: str, thing: Thing, namespace: str = "") -> Thing:
        made = super().create(kind, thing, namespace)
        if kind == PODS:
            threading.Thread(target=self._run, args=(made,), daemon=True).start()
        return made

    def log_of(self, namespace: str, name: str) -> bytes:
        """What the container of a pod has said so far."""
        self.get(PODS, namespace, name)
        container = self.containers.get(name)
        if container is None:
            raise RefusedError(400, "BadRequest", f'container in pod "{name}" is waiting to start: ContainerCreating')
        return container.log.read_bytes() if container.log.exists() else b""

    def drain(self, container: Container) -> None:
        """A spot machine gets notice: its kubelet ends the pod, which has the grace of its template."""
        with self.lock:
            [pod] = [one for one in self.things[PODS].values() if one["metadata"]["name"] == container.folder.name]
        container.stop(_grace_s(pod))

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
        with self.lock:  # so that nothing starts again
            for pod in list(self.things[PODS].values()):
                self.forget(PODS, pod)
        for container in list(self.containers.values()):
            if container.is_running:
                container.kill()
        self.addresses.close()
        self.volumes.end()

    def end_pod(self, pod: Thing, grace_s: float | None = None) -> None:
        """SIGTERM, the grace, SIGKILL; then the pod is gone."""
        pod["metadata"]["deletionTimestamp"] = now()
        self._status(pod, {})
        container = self.containers.get(pod["metadata"]["name"])
        if container is not None and container.is_running:
            container.stop(_grace_s(pod) if grace_s is None else grace_s)
        self.forget(PODS, pod)

    @abstractmethod
    def restarts_at_most(self, pod: Thing) -> int:
        """How often the container of a pod may fail that starts again on failure only."""

    @abstractmethod
    def pod_ended(self, pod: Thing, *, succeeded: bool) -> None:
        """Told of a pod that will not start again."""

    def _run(self, pod: Thing) -> None:
        """A pod from its scheduling to its end."""
        spec = pod["spec"]["containers"][0]
        node = self.scheduler.node_for(pod)
        if node is None:
            why = "node(s) didn't match Pod's node affinity/selector."
            self._status(pod, {"conditions": [unschedulable(len(self.scheduler.nodes), why)]})
            return
        pod["spec"]["nodeName"] = node
        self.volumes.clear(pod)
        if (devices := self._devices(pod, node)) is None:
            return
        self._status(pod, {"podIP": self.addresses.next(), "startTime": now()})
        code, restarts, pause_s = 1, 0, FIRST_PAUSE_S
        while (container := self._start(pod, spec, devices, restarts)) is not None:
            code = self._attend(pod, spec, container, restarts)
            again = {"Never": False, "OnFailure": code != 0 and restarts < self.restarts_at_most(pod), "Always": True}
            if not again[pod["spec"].get("restartPolicy", "Always")]:
                break
            if not self._stays(pod, pause_s):
                break
            restarts, pause_s = restarts + 1, min(2 * pause_s, LONGEST_PAUSE_S)
        self.scheduler.give_back(pod)
        with self.lock:
            if self._is_there(pod):
                self._status(pod, {"phase": "Succeeded" if code == 0 else "Failed"})
                self.pod_ended(pod, succeeded=code == 0)

    def _devices(self, pod: Thing, node: str) -> tuple[str, ...] | None:
        """Waits until its node has the devices that the pod asks for. None: the pod was deleted meanwhile."""
        while (devices := self.scheduler.take_devices(pod, node)) is None:
            if not pod["status"]["conditions"]:
                self._status(pod, {"conditions": [unschedulable(len(self.scheduler.nodes), f"Insufficient {GPU}.")]})
            if not self._stays(pod, 0.2):
                return None
        return devices

    def _start(self, pod: Thing, spec: Thing, devices: tuple[str, ...], restarts: int) -> Container | None:
        """The container, once all that it needs is there; None: the pod was deleted before."""
        namespace, name, address = pod["metadata"]["namespace"], pod["metadata"]["name"], pod["status"]["podIP"]
        while True:
            try:
                environment = variables(self, namespace, spec, address)
                mounts = self.volumes.mounts(pod, spec)
                break
            except RefusedError as error:
                waiting = {"reason": "CreateContainerConfigError", "message": str(error)}
                statuses = [_container(spec, restarts, waiting=waiting)]
                if pod["status"].get("containerStatuses") != statuses:
                    self._status(pod, {"containerStatuses": statuses})
                if not self._stays(pod, 0.5):
                    return None
        if devices:
            environment["NVIDIA_VISIBLE_DEVICES"] = ",".join(devices)
        if pod["spec"].get("automountServiceAccountToken", True):
            token = self.rights.token(namespace, pod["spec"].get("serviceAccountName", "default"))
            mounts[TOKEN] = self.folder / "tokens" / name
            mounts[TOKEN].mkdir(parents=True, exist_ok=True)
            config = mounts[TOKEN] / "kubeconfig"
            write_kubeconfig(config, self.api_url, self.rights.certificate.text, token, namespace)
            environment["KUBECONFIG"] = f"{TOKEN}/kubeconfig"
        with self.lock:
            if not self._stays(pod, 0):
                return None
            container = Container(self._new_folder(name), arguments(spec, address), environment, mounts)
            self.containers[name] = container
        self.on_container(container, pod)
        return container

    def _new_folder(self, pod: str) -> Path:
        """For a container: the pod's name, with a number from the second on."""
        names = chain([pod], (f"{pod}.{number}" for number in count(1)))
        return next(folder for name in names if not (folder := self.folder / "pods" / name).exists())

    def _attend(self, pod: Thing, spec: Thing, container: Container, restarts: int) -> int:
        """Tells how the container stands until it has ended; gives its exit code."""
        running = {"startedAt": now()}

        def tell(ready: bool) -> None:
            conditions = [{"type": "Ready", "status": str(ready)}]
            statuses = [_container(spec, restarts, ready=ready, running=running)]
            self._status(pod, {"phase": "Running", "conditions": conditions, "containerStatuses": statuses})

        attendant = Attendant(spec, pod["status"]["podIP"], _grace_s(pod), tell)
        code = attendant.attend(container)
        reason = self._reasons.get(pod["metadata"]["name"], "Completed" if code == 0 else "Error")
        ended = {"exitCode": code, "reason": reason, "message": attendant.complaint, "finishedAt": now(), **running}
        not_ready = [{"type": "Ready", "status": "False"}]
        statuses = [_container(spec, restarts, terminated=ended)]
        self._status(pod, {"conditions": not_ready, "containerStatuses": statuses})
        return code

    def _is_there(self, pod: Thing) -> bool:
        meta = pod["metadata"]
        return (
            self.things[PODS].get((meta["namespace"], meta["name"]), {}).get("metadata", {}).get("uid") == meta["uid"]
        )

    def _stays(self, pod: Thing, seconds: float) -> bool:
        """Waits; False as soon as the pod is to go."""
        ends = time.monotonic() + seconds
        while self._is_there(pod) and "deletionTimestamp" not in pod["metadata"]:
            if time.monotonic() >= ends:
                return True
            time.sleep(0.05)
        return False

    def _status(self, pod: Thing, status: Thing) -> None:
        with self.lock:
            pod["status"] = {**pod["status"], **status}
            if self._is_there(pod):
                self.put(PODS, pod)


def _container(spec: Thing, restarts: int, *, ready: bool = False, **state: Thing) -> Thing:
    return {"name": spec["name"], "ready": ready, "restartCount": restarts, "state": state}


def _grace_s(pod: Thing) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))
