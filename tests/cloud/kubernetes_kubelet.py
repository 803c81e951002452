"""What the kubelet does with the containers of a pod: variables, addresses and probes.

Each pod has an address of its own in 127.1.0.0/16. Of the network the following stands in: `0.0.0.0` among the
arguments and variables of a container, and `127.0.0.1` in a command of a probe, become the pod's address, because all
pods share one machine, and names of services (`NAME.NAMESPACE.svc`) become the addresses of services, because there is
no name service. The token that a pod may have stands in a kubeconfig instead of a mounted file. Probes ask at the pod's
address or run their command, as often and as patiently as they say.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from tests.cloud.containers import Container
from tests.cloud.kubernetes_objects import SERVICES, Objects, RefusedError, Thing, decoded
from tests.cloud.store_images import entrypoint, fixed_variables

_SERVICE_NAME = re.compile(r"\b([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?\b")
_client = httpx.Client(trust_env=False)


def arguments(spec: Thing, address: str) -> list[str]:
    """Command and arguments of a container."""
    command = spec.get("command") or entrypoint(spec["image"])
    return [_listening(one, address) for one in [*command, *spec.get("args", [])]]


def variables(objects: Objects, namespace: str, spec: Thing, address: str) -> dict[str, str]:
    """The environment of a container.

    Raises:
        RefusedError: a secret or a key in it is missing.
    """
    found = fixed_variables(spec["image"])
    for source in spec.get("envFrom", []):
        secret = objects.get("secrets", namespace, source["secretRef"]["name"])
        found |= {name: decoded(value) for name, value in secret.get("data", {}).items()}
    for variable in spec.get("env", []):
        if "valueFrom" not in variable:
            found[variable["name"]] = variable.get("value", "")
            continue
        reference = variable["valueFrom"]["secretKeyRef"]
        data = objects.get("secrets", namespace, reference["name"]).get("data", {})
        if reference["key"] not in data:
            raise RefusedError(404, "NotFound", f"couldn't find key {reference['key']} in Secret {reference['name']}")
        found[variable["name"]] = decoded(data[reference["key"]])

    def service(match: re.Match[str]) -> str:
        known = objects.things[SERVICES].get((match[2], match[1]))
        return match[0] if known is None else str(known["spec"]["clusterIP"])

    return {name: _SERVICE_NAME.sub(service, _listening(value, address)) for name, value in found.items()}


def _listening(value: str, address: str) -> str:
    return address if value == "0.0.0.0" else value


@dataclass
class Probe:
    """One probe of a running container: `asks`, given its patience in seconds, whether the container is well."""

    spec: Mapping[str, Any]
    asks: Callable[[float], bool]
    _next: float = field(init=False)
    _failures: int = 0

    @classmethod
    def of(cls, container: Thing, name: str, address: str) -> Probe:
        """The `startup`, `readiness` or `liveness` probe of a container whose pod has `address`."""
        spec = container[f"{name}Probe"]
        if "exec" in spec:
            command = [address if part == "127.0.0.1" else part for part in spec["exec"]["command"]]
            return cls(spec, partial(_succeeds, command))
        ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
        get = spec["httpGet"]
        return cls(spec, partial(_answers, f"http://{address}:{ports.get(get['port'], get['port'])}{get['path']}"))

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.spec.get("initialDelaySeconds", 0)

    def ask(self) -> bool | None:
        """Whether the container is well: None where it is not time to know."""
        if time.monotonic() < self._next:
            return None
        well = self.asks(self.spec.get("timeoutSeconds", 1))
        self._next = time.monotonic() + self.spec.get("periodSeconds", 10)
        self._failures = 0 if well else self._failures + 1
        if well:
            return True
        return False if self._failures >= self.spec.get("failureThreshold", 3) else None


def _answers(url: str, timeout_s: float) -> bool:
    try:
        return 200 <= _client.get(url, timeout=timeout_s).status_code < 400
    except httpx.HTTPError:
        return False


def _succeeds(command: list[str], timeout_s: float) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout_s, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Attendant:
    """Watches one container: tells when it becomes ready or ceases to be, and ends it when it is not alive."""

    def __init__(self, spec: Thing, address: str, grace_s: float, tell_ready: Callable[[bool], None]) -> None:
        self._probes = {
            name: Probe.of(spec, name, address)
            for name in ("startup", "readiness", "liveness")
            if f"{name}Probe" in spec
        }
        self._grace_s = grace_s
        self._tell_ready = tell_ready
        self._ready: bool | None = None
        self.complaint = ""

    def attend(self, container: Container, poll_s: float = 0.05) -> int:
        """Until the container has ended; gives its exit code."""
        started = "startup" not in self._probes
        if started and "readiness" not in self._probes:
            self._say(ready=True)
        while container.exit_code is None:
            if not started:
                well = self._probes["startup"].ask()
                started = bool(well)
                if well is False:
                    self._end(container, "Startup probe failed")
                if started and "readiness" not in self._probes:
                    self._say(ready=True)
            else:
                if "readiness" in self._probes and (ready := self._probes["readiness"].ask()) is not None:
                    self._say(ready=ready)
                if "liveness" in self._probes and self._probes["liveness"].ask() is False:
                    self._end(container, "Liveness probe failed")
            time.sleep(poll_s)
        return container.wait_for_log()

    def _say(self, *, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            self._tell_ready(ready)

    def _end(self, container: Container, complaint: str) -> None:
        self.complaint = complaint
        container.stop(self._grace_s)
