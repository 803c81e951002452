"""What the API server says of itself: kinds, their verbs, and that it looks at the fields of what it is given.

`kubectl` and helm read all of it before they send anything; Prefect's observer waits until it knows of custom resources
and then asks for none.
"""

from __future__ import annotations

from typing import Any

from tests.cloud.kubernetes_objects import KINDS, PODS

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_EXTENSIONS = "apiextensions.k8s.io/v1"
_GROUP_VERSIONS = sorted({kind.group_version for kind in KINDS.values()} | {_EXTENSIONS})


def _group_of(version: str) -> dict[str, Any]:
    name, _, number = version.rpartition("/")
    one = {"groupVersion": version, "version": number}
    return {"name": name, "versions": [one], "preferredVersion": one}


def _path_of(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"


def _kinds_of(version: str) -> dict[str, Any]:
    found = [
        {
            "name": plural, "singularName": kind.name.lower(), "kind": kind.name, "namespaced": kind.namespaced,
            "verbs": _VERBS, "shortNames": list(kind.short),
        }
        for plural, kind in KINDS.items()
        if kind.group_version == version
    ]  # fmt: skip
    if version == KINDS[PODS].group_version:
        found.append({"name": "pods/log", "singularName": "", "kind": "Pod", "namespaced": True, "verbs": ["get"]})
    if version == _EXTENSIONS:
        name = "customresourcedefinitions"
        found.append({
            "name": name, "singularName": name[:-1], "kind": "CustomResourceDefinition", "namespaced": False,
            "verbs": _VERBS,
        })  # fmt: skip
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found}


def _openapi_of(version: str) -> dict[str, Any]:
    """Enough for clients to leave the check of fields to the server."""
    group, _, number = version.rpartition("/")
    paths = {
        f"/{_path_of(version)}/{plural}/{{name}}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "responses": {},
                "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind.name},
            }
        }
        for plural, kind in KINDS.items()
        if kind.group_version == version
    }
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": paths}


def discovery() -> dict[str, dict[str, Any]]:
    """Answers by path."""
    answers: dict[str, dict[str, Any]] = {
        "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [_group_of(version) for version in _GROUP_VERSIONS if "/" in version],
        },
        "/openapi/v3": {
            "paths": {
                _path_of(version): {"serverRelativeURL": f"/openapi/v3/{_path_of(version)}"}
                for version in _GROUP_VERSIONS
            }
        },
    }  # fmt: skip
    for version in _GROUP_VERSIONS:
        answers[f"/{_path_of(version)}"] = _kinds_of(version)
        answers[f"/openapi/v3/{_path_of(version)}"] = _openapi_of(version)
    return answers
