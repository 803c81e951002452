"""What the cluster keeps, as etcd and the API server do: objects of the kinds that chart and install guide need.

Real are the shapes (each object is checked against the schema of its kind when it is made), names and their conflicts,
namespaces that have to exist and take everything with them when they go, resource versions, the history that watches
are told from, and selectors. Patches of every type are merged as JSON; a server-side apply replaces what was applied
before, because here each object has one owner.
"""

from __future__ import annotations

import threading
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kubernetes_validate

Thing = dict[str, Any]
Key = tuple[str, str]
SCHEMAS = "1.33"
JOBS, PODS, DEPLOYMENTS, SERVICES = "jobs", "pods", "deployments", "services"
STATEFUL_SETS, CLAIMS = "statefulsets", "persistentvolumeclaims"


@dataclass(frozen=True)
class Kind:
    """A kind of object, and where it lies in the API."""

    name: str
    group_version: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Empty for the core."""
        return self.group_version.rpartition("/")[0]


RBAC = "rbac.authorization.k8s.io/v1"
KINDS = {
    "namespaces": Kind("Namespace", namespaced=False, short=("ns",)),
    "nodes": Kind("Node", namespaced=False, short=("no",)),
    "secrets": Kind("Secret"),
    "configmaps": Kind("ConfigMap", short=("cm",)),
    "serviceaccounts": Kind("ServiceAccount", short=("sa",)),
    SERVICES: Kind("Service", short=("svc",)),
    CLAIMS: Kind("PersistentVolumeClaim", short=("pvc",)),
    "resourcequotas": Kind("ResourceQuota", short=("quota",)),
    PODS: Kind("Pod", short=("po",)),
    "events": Kind("Event", short=("ev",)),
    JOBS: Kind("Job", "batch/v1"),
    DEPLOYMENTS: Kind("Deployment", "apps/v1", short=("deploy",)),
    STATEFUL_SETS: Kind("StatefulSet", "apps/v1", short=("sts",)),
    "roles": Kind("Role", RBAC),
    "rolebindings": Kind("RoleBinding", RBAC),
    "networkpolicies": Kind("NetworkPolicy", "networking.k8s.io/v1", short=("netpol",)),
    "priorityclasses": Kind("PriorityClass", "scheduling.k8s.io/v1", namespaced=False, short=("pc",)),
}


class RefusedError(Exception):
    """What the API server answers instead: its code and reason."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class Objects:
    """Everything that etcd knows.

    Attributes:
        things: objects by kind (its plural), namespace (empty where it has none) and name.
        history: number, kind, what happened and the object then, in order.
        listeners: called after each change.
    """

    def __init__(self) -> None:
        self.things: dict[str, dict[Key, Thing]] = {kind: {} for kind in KINDS}
        self.history: list[tuple[int, str, str, Thing]] = []
        self.listeners: set[Callable[[], None]] = set()
        self.lock = threading.RLock()
        for name in ("default", "kube-system"):
            self.create("namespaces", {"metadata": {"name": name}})

    @property
    def version(self) -> int:
        return len(self.history)

    def get(self, kind: str, namespace: str, name: str) -> Thing:
        """The object.

        Raises:
            RefusedError: there is none (404).
        """
        found = self.things[kind].get((namespace, name))
        if found is None:
            raise RefusedError(404, "NotFound", f'{kind} "{name}" not found')
        return found

    def create(self, kind: str, thing: Thing, namespace: str = "") -> Thing:
        """Keeps a new object.

        Raises:
            RefusedError: its namespace is missing, its name is taken, or it is not what its kind says.
        """
        known = KINDS[kind]
        thing = {"apiVersion": known.group_version, "kind": known.name, **deepcopy(thing)}
        meta = thing.setdefault("metadata", {})
        if "generateName" in meta and "name" not in meta:
            meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
        validate(thing)
        if known.namespaced:
            meta["namespace"] = namespace
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
        with self.lock:
            if known.namespaced and ("", namespace) not in self.things["namespaces"]:
                raise RefusedError(404, "NotFound", f'namespaces "{namespace}" not found')
            if (meta.get("namespace", ""), meta["name"]) in self.things[kind]:
                raise RefusedError(409, "AlreadyExists", f'{kind} "{meta["name"]}" already exists')
            self.admit(kind, thing)
            self.put(kind, thing)
        return thing

    def admit(self, kind: str, thing: Thing) -> None:
        """What the API server and the first controllers fill in."""
        meta = thing["metadata"]
        if kind == "namespaces":
            meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta["name"]
            thing["status"] = {"phase": "Active"}
        elif kind == "secrets":
            for name, value in thing.pop("stringData", {}).items():
                thing.setdefault("data", {})[name] = encoded(value)
        elif kind == CLAIMS:
            thing["status"] = {"phase": "Bound"}

    def change(self, kind: str, old: Thing, new: Thing) -> Thing:
        """Puts `new` in the place of `old`; what the server says of an object stays."""
        new, kept = deepcopy(new), ("name", "namespace", "uid", "creationTimestamp", "generation")
        new["metadata"] |= {name: value for name, value in old["metadata"].items() if name in kept}
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        new.setdefault("status", old.get("status", {}))
        if not new["status"]:
            del new["status"]
        if kind == SERVICES:
            new["spec"]["clusterIP"] = old["spec"]["clusterIP"]
        with self.lock:
            self.put(kind, new)
        return new

    def forget(self, kind: str, thing: Thing) -> None:
        """Deletes an object; a namespace takes all with it that lies in it."""
        meta = thing["metadata"]
        with self.lock:
            if kind == "namespaces":
                for other, found in self.things.items():
                    for inside in [one for (namespace, _), one in found.items() if namespace == meta["name"]]:
                        self.forget(other, inside)
            if self.things[kind].pop((meta.get("namespace", ""), meta["name"]), None) is not None:
                self._tell(kind, "DELETED", thing)

    def put(self, kind: str, thing: Thing) -> None:
        key = thing["metadata"].get("namespace", ""), thing["metadata"]["name"]
        with self.lock:
            self._tell(kind, "MODIFIED" if key in self.things[kind] else "ADDED", thing)
            self.things[kind][key] = thing

    def _tell(self, kind: str, change: str, thing: Thing) -> None:
        thing["metadata"]["resourceVersion"] = str(self.version + 1)
        self.history.append((self.version + 1, kind, change, deepcopy(thing)))
        for listener in list(self.listeners):
            listener()


def validate(thing: Thing) -> None:
    """Refuses what is not as its kind says.

    Raises:
        RefusedError: 422.
    """
    try:
        kubernetes_validate.validate(thing, SCHEMAS, strict=False)
    except kubernetes_validate.ValidationError as error:
        raise RefusedError(422, "Invalid", f"{thing['kind']} {thing['metadata']['name']}: {error}") from error


def merged(old: Any, patch: Any) -> Any:
    """RFC 7396; directives of strategic patches are left out, and so are their ways of merging lists."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of an object (`matchLabels`, `matchExpressions`) fits; an empty one fits all."""
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        (one["key"] in labels) == (one["operator"] not in {"DoesNotExist", "NotIn"})
        and (one["operator"] != "In" or labels[one["key"]] in one["values"])
        for one in selector.get("matchExpressions", ())
    )


def encoded(value: str) -> str:
    return b64encode(value.encode()).decode()


def decoded(value: str) -> str:
    return b64decode(value).decode()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
