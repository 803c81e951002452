"""An empty cluster, its operator, and what a company may have beside it: PostgreSQL, Redis, a private zone's store.

real        kubectl, helm, the chart, Prefect's servers, workers and dispatcher as the chart starts them, PostgreSQL,
            Redis, faceflow
stand-ins   the cluster itself (`kubernetes_api` and what it names), containers (`containers`)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cloud.guide import Operator
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.kubernetes_cluster import Cluster, Node, Thing
from tests.cloud.kubernetes_network import Network
from tests.cloud.kubernetes_objects import DEPLOYMENTS, PODS
from tests.cloud.kubernetes_rights import write_kubeconfig
from tests.conftest import ROOT
from tests.dispatch.jobs import SEGMENT_S
from tests.faces import face_clip, portrait
from tests.kubernetes_tools import unpacked
from tests.postgres import Postgres
from tests.prefect_api import PrefectApi
from tests.servers import running_redis

PRIVATE, ISOLATED = "private-k8s", "isolated-k8s"
JOBS_NAMESPACE = "faceflow-jobs"
DISPATCHER = "dispatch"
AUTH = "operator:a-password"
NODES = [Node("machine-1", {}), Node("machine-2", {})]
"""As a provider hands them out."""
JOB: dict[str, Any] = {
    "sources": [{"portraits": ["store://media/portrait.png"]}],
    "target": "store://media/target.mp4",
    "output": "store://results/swapped.mp4",
    "sensitivity": "private",
    "encoding": {"segment_s": SEGMENT_S, "max_long_side_px": 160},
    "consent": {"subject": "Eileen Collins", "scope": "tests of this program", "reference": "NASA S93-45481"},
}
"""A private one: the clip of the private store into the private store."""


@dataclass
class Installation:
    """What the operator has, and looks at."""

    folder: Path
    cluster: Cluster
    api: KubernetesApi
    operator: Operator
    said: str = ""

    def __post_init__(self) -> None:
        self.network = Network(self.cluster, self.cluster.containers)

    @property
    def prefect(self) -> PrefectApi:
        """The server at its service's address; `kubectl port-forward` needs a kubelet that streams."""
        address = self.cluster.get("services", "faceflow", "faceflow-server")["spec"]["clusterIP"]
        return PrefectApi(f"http://{AUTH}@{address}:4200/api", DISPATCHER)

    def deployment(self, name: str) -> Thing:
        return self.cluster.get(DEPLOYMENTS, "faceflow", name)

    def pods(self, namespace: str) -> list[Thing]:
        with self.cluster.lock:
            return [pod for (where, _), pod in self.cluster.things[PODS].items() if where == namespace]

    def restarts(self, deployment: str) -> list[int]:
        """How often the container of each pod started again."""
        pods = self.cluster.pods_of(self.deployment(deployment))
        return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods]

    def account(self, name: str) -> Operator:
        """Someone who holds the token of a service account of the release."""
        rights = self.cluster.rights
        config = self.folder / f"{name}.json"
        write_kubeconfig(config, self.api.url, rights.certificate.text, rights.token("faceflow", name), "faceflow")
        return Operator(self.folder, {**self.operator.environment, "KUBECONFIG": str(config)}, {})

    def write_pools(self, **of_private: Any) -> None:
        """The shipped list, with the company's own figures for what it has: no GPU, and a store in a folder."""
        pools = yaml.safe_load((ROOT / "deployments/policies/pools.yaml").read_text())
        for pool in pools["pools"]:
            if pool["name"] in (PRIVATE, ISOLATED):
                store = self.folder / "stores" / pool["zone"]
                environment = {"FACEFLOW_LOG__LEVEL": "debug", "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000000"}
                for name, below in (("MEDIA", "in"), ("RESULTS", "out")):
                    (store / below).mkdir(parents=True, exist_ok=True)
                    prefix = f"FACEFLOW_STORES__NAMED__{name}__"
                    environment |= {f"{prefix}ADDRESS": f"file://{store / below}", f"{prefix}ZONE": pool["zone"]}
                pool["runs_on"] |= {"provider": "cpu", "environment": environment}
            if pool["name"] == PRIVATE:
                pool.update(of_private)
        (self.folder / "pools.yaml").write_text(yaml.safe_dump(pools))

    def write_values(self) -> None:
        """The example, for a company without AWS."""
        values = yaml.safe_load((ROOT / "deployments/helm/example.yaml").read_text())
        values["workers"] = [worker for worker in values["workers"] if worker.get("type") != "ecs"]
        values["kubernetesApi"] = {"cidr": "127.0.0.1/32", "ports": [self.api.port]}
        (self.folder / "values.yaml").write_text(yaml.safe_dump(values))

    def job(self) -> dict[str, Any]:
        """`JOB`, with the media that it names."""
        store = self.folder / "stores" / "private" / "in"
        portrait(store)
        face_clip(store / "target.mp4", seconds=4.0)
        return JOB

    @property
    def result(self) -> Path:
        return self.folder / "stores/private/out/swapped.mp4"


@contextmanager
def company_stores(folder: Path, postgres: Postgres) -> Iterator[dict[str, str]]:
    """A company's own PostgreSQL, with the two databases, and Redis: what stands for their addresses in the guide."""
    databases = {name: postgres.new_database().split("://")[1] for name in ("prefect", "faceflow")}
    with running_redis(folder) as redis:
        yield {
            **{f"USER:PASSWORD@HOST:5432/{name}": address for name, address in databases.items()},
            "redis://HOST:6379/0": redis,
        }


@contextmanager
def empty_cluster(folder: Path, stores: Mapping[str, str]) -> Iterator[Installation]:
    """Everything that has to be there before the guide begins; `stores`: answers for those outside of the cluster."""
    tools = folder / "tools"
    tools.mkdir()
    for program in ("helm", "kubectl"):
        (tools / program).symlink_to(unpacked(program, folder / "unpacked"))
    (folder / "deployments").symlink_to(ROOT / "deployments")
    (folder / "rules.yaml").write_text((ROOT / "deployments/policies/canonical.yaml").read_text())
    with ExitStack() as stack:
        cluster = Cluster(folder / "kubernetes", NODES, lambda namespace, claim: folder / "claims" / namespace / claim)
        stack.callback(cluster.end)
        api = KubernetesApi(cluster)
        api.start()
        stack.callback(api.close)
        environment = {
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": str(api.write_kubeconfig(folder / "kubeconfig", "default")),
        }
        answers = {**stores, "USER:PASSWORD": AUTH}
        installation = Installation(folder, cluster, api, Operator(folder, environment, answers))
        installation.write_pools()
        installation.write_values()
        yield installation
