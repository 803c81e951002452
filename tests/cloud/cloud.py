"""The hybrid cloud on one machine, from the side of whoever uses it: give jobs, set traps, look into the books.

    real        Prefect server on PostgreSQL and Redis, Prefect's kubernetes, ecs and process workers, faceflow's own
                commands, etcd with the rules, Prometheus with the free GPUs
    stand-ins   Kubernetes (`kubernetes_api`, `kubernetes_cluster`, `metrics`), AWS (moto and `amazon`), containers
                (`containers`)

`assembly` puts it together, `zone_stores` are where media come from and go to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceflow.infrastructure.books.book_settings import DatabaseSettings
from faceflow.infrastructure.books.budgets.accounts import Reservation
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.requests import Request, find_request
from faceflow.infrastructure.books.records.runs import Run, runs_of
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from faceflow.zones import Zone
from tests.cloud.amazon import Amazon
from tests.cloud.containers import Container, Trap
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.kubernetes_cluster import Cluster, Node
from tests.cloud.zone_stores import ZoneStore
from tests.conftest import ROOT
from tests.dispatch.jobs import SEGMENT_S
from tests.prefect_api import FINAL, PrefectApi, T, run_in_prefect, until
from tests.servers import Server

RULES_FILE = Path(__file__).with_name("rules.yaml")
DISPATCHER = "dispatch"
ISOLATED, PRIVATE, AWS, AZURE = "isolated-k8s", "private-k8s", "aws-g4dn-spot", "azure-t4-spot"
NAMESPACES = {ISOLATED: "faceflow-isolated", PRIVATE: "faceflow-jobs", AZURE: "faceflow-aks"}
PATIENCE_S = 900.0
RECONCILE_S = 3.0
"""How often tests book what ended; the dispatcher's schedule does it every few minutes."""
NODES = [
    Node(
        "isolated-1",
        {"faceflow.io/zone": "isolated"},
        ({"key": "faceflow.io/zone", "value": "isolated", "effect": "NoExecute"},),
    ),
    Node("private-1", {"faceflow.io/zone": "private"}, gpus=("GPU-5f0a", "GPU-91c3")),
    Node(
        "aks-spot-1",
        {"kubernetes.azure.com/scalesetpriority": "spot", "faceflow.io/gpu": "t4"},
        ({"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"},),
    ),
]


def job_in_stores(output: str, **more: Any) -> dict[str, Any]:
    """A request: portrait and clip of the store `media`, the result into the store `results`."""
    return {
        "sources": [{"portraits": ["store://media/portrait.png"]}],
        "target": "store://media/target.mp4",
        "output": f"store://results/{output}",
        "encoding": {"segment_s": SEGMENT_S, "max_long_side_px": 160},
        "consent": {"subject": "Eileen Collins", "scope": "tests of this program", "reference": "NASA S93-45481"},
        **more,
    }


@dataclass(frozen=True)
class Services:
    """Where the dispatcher finds what it asks.

    Attributes:
        database_url: of the books.
        rules: address of the key in etcd.
        prometheus_url: which knows the free GPUs.
    """

    database_url: str
    rules: str
    prometheus_url: str


@dataclass
class Cloud(PrefectApi):
    """Everything, running."""

    folder: Path
    services: Services
    amazon: Amazon
    cluster: Cluster
    kubernetes: KubernetesApi
    server: Server
    stores: dict[Zone, ZoneStore]
    containers: list[tuple[str, str, Container]] = field(default_factory=list)
    traps: list[tuple[str, Trap]] = field(default_factory=list)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deciding: threading.Lock = field(default_factory=threading.Lock)

    def containers_of(self, flow_run_id: str) -> list[Container]:
        """In the order in which they began."""
        return [container for run, _, container in list(self.containers) if run == flow_run_id]

    def pool_environment(self) -> dict[str, str]:
        """The environment of the dispatcher's machine."""
        state = self.folder / DISPATCHER / "state"
        return {
            **client_environment(state, self.api_url),
            "FACEFLOW_PATHS__STATE": str(state),
            "FACEFLOW_PATHS__SCRATCH": str(self.folder / DISPATCHER / "scratch"),
            "FACEFLOW_DATABASE__URL": self.services.database_url,
            "FACEFLOW_ROUTING__POOLS": str(self.folder / "pools.yaml"),
            "FACEFLOW_ROUTING__RULES": self.services.rules,
            "FACEFLOW_ROUTING__DISPATCHER_POOL": DISPATCHER,
            "FACEFLOW_ROUTING__SHARDS": "1",
            "FACEFLOW_ROUTING__SILENCE_S": "60",
            "FACEFLOW_SIGNALS__PREFECT_TTL_S": "0",
            "FACEFLOW_PROMETHEUS__URL": self.services.prometheus_url,
            "FACEFLOW_PROMETHEUS__TTL_S": "0",
            # Workers see to it that finished parts are found by whoever goes on.
            "FACEFLOW_EXCHANGE__FOLDER": str(self.folder / "exchange"),
            "FACEFLOW_LOG__FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }

    def job(self, output: str, **more: Any) -> dict[str, Any]:
        """The request: the clip of the zone's store into the zone's store."""
        return job_in_stores(output, **more)

    def set_trap(self, flow_run_id: str, trap: Trap) -> None:
        """Stops the first container of the run that walks into it."""
        self.traps.append((flow_run_id, trap))
        for container in self.containers_of(flow_run_id):
            container.traps.append(trap)

    def state_of(self, pool: str) -> Path:
        """The folder that all jobs of a pool know as `/state`."""
        if pool == AWS:
            return self.folder / "aws" / "state"
        return self.folder / "kubernetes" / "claims" / NAMESPACES[pool] / "faceflow-state"

    def dispatch_here(self, job: dict[str, Any], kind: str = "") -> tuple[str, str]:
        """Gives a job to the dispatcher's flow in this process. Returns the ids of the request and of its first run."""

        async def once() -> tuple[str, str]:
            from faceflow.flows.dispatch import dispatch
            from faceflow.flows.dispatcher.known_media import KnownMedia
            from faceflow.job import SwapJob

            known = KnownMedia(frames=120, duration_s=4.0, labels={"kind": kind} if kind else {})
            said = await dispatch(SwapJob.model_validate(job), known)
            return said.request_id, said.runs[0].flow_run_id

        return self._here(once)

    def request(self, request_id: str) -> tuple[Request, list[Run], list[Reservation]]:
        """What the books say of a job."""
        with Database.open(self.settings) as database:
            request = find_request(database, request_id)
            assert request is not None
            return request, runs_of(database, request_id), Budgets(database).of_job(request_id)

    def reconcile(self) -> None:
        """Books what ended, as the dispatcher's schedule does every few minutes."""

        async def once() -> None:
            from faceflow.flows.reconcile import reconcile

            await reconcile()

        self._here(once)

    def follow(
        self, request_id: str, patience_s: float = PATIENCE_S, *, looked_after_here: bool = False
    ) -> tuple[Request, list[Run], list[Reservation]]:
        """Waits until a job has ended, whatever attempts it takes, and books it.

        Lost runs are looked after by the dispatcher's worker, as soon as the server tells of them, or in this process.
        """
        ends = FINAL if looked_after_here else {"COMPLETED"}

        def ended() -> tuple[Request, list[Run], list[Reservation]] | None:
            request, runs, money = self.request(request_id)
            if request.state.ended:
                return request, runs, money
            last = [run for run in runs if run.attempt == request.attempt and run.flow_run_id]
            if any(self.run(run.flow_run_id or "")["state_type"] in ends for run in last):
                self.reconcile()
                time.sleep(RECONCILE_S)
            return None

        return until(ended, patience_s, f"end of job {request_id}")

    def on_container(self, pool: str, flow_run_id: str, container: Container) -> None:
        """Called as soon as a container runs."""
        self.containers.append((flow_run_id, pool, container))
        container.traps.extend(trap for run, trap in self.traps if run == flow_run_id and trap.sprung is None)

    def _here(self, function: Callable[[], Awaitable[T]]) -> T:
        """One at a time: it changes this process's environment."""
        with self.deciding:
            return run_in_prefect(self.pool_environment(), function)

    @property
    def settings(self) -> Settings:
        """For whoever looks into the books."""
        paths = PathSettings(state=self.folder / "books", scratch=self.folder / "books")
        return Settings(paths=paths, database=DatabaseSettings(url=self.services.database_url))


def clean_environment() -> dict[str, str]:
    """Ours, without what belongs to another machine."""
    foreign = ("FACEFLOW_", "PREFECT_", "AWS_", "KUBE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    # The worker of a process pool starts the Python that its PATH finds first.
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"}


def register(cloud: Cloud, *options: str) -> dict[str, Any]:
    """`faceflow register`, as an operator gives it."""
    answer: dict[str, Any] = json.loads(
        command(cloud, "register", "--pools", str(cloud.folder / "pools.yaml"), "--json", *options)
    )
    return answer


def command(cloud: Cloud, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """What a faceflow command says on the dispatcher's machine; it ends with one of the `codes`."""
    environment = {**clean_environment(), **cloud.pool_environment()}
    whole = [sys.executable, "-m", "faceflow.gateway.program", *arguments]
    done = subprocess.run(
        whole, env=environment, cwd=cloud.folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout
