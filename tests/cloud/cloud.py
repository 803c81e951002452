"""The hybrid cloud on one machine: what is real, what stands in for what, and how it is put together.

    real        Prefect server on PostgreSQL, Prefect's kubernetes, ecs and process workers, faceflow's own commands
    stand-ins   Kubernetes (`kubernetes_api`, `kubernetes_cluster`), AWS (moto and `amazon`), containers (`containers`)

The list of pools is the shipped one (four of its pools, on the CPU), made known by `faceflow register`. Each zone has a
store of its own: S3 of moto for the public one, SeaweedFS for the private one, a folder for the isolated one; the S3
stores stand behind a proxy that can fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from faceflow.settings import DatabaseSettings, PathSettings, Settings
from faceflow.zones import Zone
from infrastructure.budgets.model import Reservation
from infrastructure.budgets.reservations import Budgets
from infrastructure.database.database import Database
from infrastructure.records.requests import Request, find_request
from infrastructure.records.runs import Run, runs_of
from infrastructure.server.environment import client_environment
from infrastructure.server.keeper import die_with_parent
from infrastructure.worker import local_worker
from tests.cloud.amazon import Amazon, running_amazon
from tests.cloud.containers import Container, Trap
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.kubernetes_cluster import Cluster, Node, Thing
from tests.conftest import ROOT
from tests.dispatch.jobs import SEGMENT_S
from tests.postgres import Postgres
from tests.prefect_api import FINAL, PrefectApi, T, run_in_prefect, until
from tests.servers import Server, free_port
from tests.stores import services
from tests.stores.proxy import Proxy, running_proxy

HERE = Path(__file__).parent
POOLS_FILE = ROOT / "deployments/policies/pools.yaml"
DISPATCHER = "dispatch"
ISOLATED, PRIVATE, AWS, AZURE = "isolated-k8s", "private-k8s", "aws-g4dn-spot", "azure-t4-spot"
NAMESPACES = {ISOLATED: "faceflow-isolated", PRIVATE: "faceflow-jobs", AZURE: "faceflow-aks"}
FLOW_RUN = "prefect.io/flow-run-id"
START_S = 600.0
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
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": services.KEY,
    "AWS_SECRET_ACCESS_KEY": services.SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class ZoneStore:
    """The store of a zone.

    Attributes:
        address: of the store; inputs lie below `in`, results below `out`.
        endpoint: of S3, through the proxy; None: a folder.
    """

    zone: Zone
    address: str
    endpoint: str | None = None
    proxy: Proxy | None = None

    def variables(self) -> dict[str, str]:
        """How a pool's jobs find it, as stores `media` and `results`."""
        found = {}
        for name, below in (("MEDIA", "in"), ("RESULTS", "out")):
            prefix = f"FACEFLOW_STORES__NAMED__{name}__"
            found |= {f"{prefix}ADDRESS": f"{self.address}/{below}", f"{prefix}ZONE": str(self.zone)}
            if self.endpoint is not None:
                found |= {f"{prefix}ENDPOINT": self.endpoint}
        return found

    def put(self, path: Path) -> None:
        """An input, as `store://media/NAME`."""
        if self.endpoint is None:
            folder = Path(self.address.removeprefix("file://")) / "in"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).write_bytes(path.read_bytes())
            return
        self._client().upload_file(str(path), self._bucket, f"{self._prefix}in/{path.name}")

    def results(self) -> dict[str, bytes]:
        """Everything that was delivered, by its name below `out`."""
        if self.endpoint is None:
            folder = Path(self.address.removeprefix("file://")) / "out"
            paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
            return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        client, prefix = self._client(), f"{self._prefix}out/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): client.get_object(Bucket=self._bucket, Key=key)["Body"].read() for key in keys
        }

    @property
    def _bucket(self) -> str:
        return self.address.removeprefix("s3://").partition("/")[0]

    @property
    def _prefix(self) -> str:
        below = self.address.removeprefix("s3://").partition("/")[2]
        return f"{below}/" if below else ""

    def _client(self) -> Any:
        """Past the proxy: what tests look at cannot fail."""
        assert self.proxy is not None
        return boto3.client(
            "s3", endpoint_url=self.proxy.upstream, region_name="us-east-1", aws_access_key_id=services.KEY,
            aws_secret_access_key=services.SECRET, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip


@dataclass
class Cloud(PrefectApi):
    """Everything, running."""

    folder: Path
    database_url: str
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
        return dispatcher_environment(self.folder, self.api_url, self.database_url)

    def job(self, output: str, **more: Any) -> dict[str, Any]:
        """The request: the clip of the zone's store into the zone's store."""
        return {
            "sources": [{"portraits": ["store://media/portrait.png"]}],
            "target": "store://media/target.mp4",
            "output": f"store://results/{output}",
            "encoding": {"segment_s": SEGMENT_S, "max_long_side_px": 160},
            "consent": {"subject": "Eileen Collins", "scope": "tests of this program", "reference": "NASA S93-45481"},
            **more,
        }

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
            from faceflow.job import SwapJob
            from flows.dispatch import dispatch
            from flows.dispatching.known import KnownMedia

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
            from flows.reconcile import reconcile

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
        return Settings(paths=paths, database=DatabaseSettings(url=self.database_url))


def dispatcher_environment(folder: Path, api_url: str, database_url: str) -> dict[str, str]:
    state = folder / DISPATCHER / "state"
    return {
        **client_environment(state, api_url),
        "FACEFLOW_PATHS__STATE": str(state),
        "FACEFLOW_PATHS__SCRATCH": str(folder / DISPATCHER / "scratch"),
        "FACEFLOW_DATABASE__URL": database_url,
        "FACEFLOW_ROUTING__POOLS": str(folder / "pools.yaml"),
        "FACEFLOW_ROUTING__RULES": str(HERE / "rules.yaml"),
        "FACEFLOW_ROUTING__DISPATCHER_POOL": DISPATCHER,
        "FACEFLOW_ROUTING__SHARDS": "1",
        "FACEFLOW_ROUTING__SILENCE_S": "60",
        "FACEFLOW_SIGNALS__PREFECT_TTL_S": "0",
        # Workers see to it that finished parts are found by whoever goes on.
        "FACEFLOW_EXCHANGE__FOLDER": str(folder / "exchange"),
        "FACEFLOW_LOG__FORMAT": "json",
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def running_cloud(folder: Path, postgres: Postgres) -> Iterator[Cloud]:
    """The whole cloud while the block lasts."""
    with ExitStack() as stack:
        amazon = stack.enter_context(running_amazon(folder / "aws", S3_KEYS))
        amazon.prepare(["public-media"])
        seaweed_folder = folder / "seaweed"
        seaweed_folder.mkdir()
        seaweed = stack.enter_context(services.seaweed(seaweed_folder))
        stores = {}
        for zone, address, upstream in (
            (Zone.PUBLIC, "s3://public-media", amazon.url),
            (Zone.PRIVATE, f"s3://{services.FIRST}/private", seaweed),
        ):
            proxy = stack.enter_context(running_proxy(upstream))
            stores[zone] = ZoneStore(zone, address, proxy.url, proxy)
        stores[Zone.ISOLATED] = ZoneStore(Zone.ISOLATED, f"file://{folder / 'isolated-store'}")
        for name in ("in", "out"):
            (folder / "isolated-store" / name).mkdir(parents=True)
        cluster = Cluster(
            folder / "kubernetes",
            NODES,
            claims=lambda namespace, claim: folder / "kubernetes" / "claims" / namespace / claim,
            secrets={(namespace, "store"): S3_KEYS for namespace in NAMESPACES.values()},
        )
        stack.callback(cluster.end)
        kubernetes = KubernetesApi(cluster)
        kubernetes.start()
        stack.callback(kubernetes.close)
        write_pools(folder / "pools.yaml", stores)

        server = prefect_server(folder, postgres)
        server.start()
        stack.callback(server.end)
        api_url = server.ready_url.removesuffix("/health")
        cloud = Cloud(api_url, DISPATCHER, folder, postgres.new_database(), amazon, cluster, kubernetes, server, stores)

        def of_pod(container: Container, pod: Thing) -> None:
            labels = pod["metadata"]["labels"]
            cloud.on_container(labels["faceflow.io/pool"], labels[FLOW_RUN], container)

        def of_task(container: Container, task: dict[str, Any]) -> None:
            cloud.on_container(task["family"].removeprefix("faceflow-"), task["tags"][FLOW_RUN], container)

        cluster.on_container, amazon.on_container = of_pod, of_task
        register(cloud)
        stack.enter_context(workers(cloud))
        yield cloud


def write_pools(path: Path, stores: dict[Zone, ZoneStore]) -> None:
    """Four pools of the shipped list, on the CPU and with the stores of their zones."""
    pools = {pool["name"]: pool for pool in yaml.safe_load(POOLS_FILE.read_text())["pools"]}
    listed = []
    for name in (ISOLATED, PRIVATE, AWS, AZURE):
        pool = pools[name]
        pool.pop("on_demand", None)
        pool["start_s"] = 5
        # Tests run a dozen of jobs on them within minutes.
        pool["interruptions_per_hour"] = 0 if pool["capacity"] == "spot" else pool.get("interruptions_per_hour", 0)
        runs_on = pool["runs_on"]
        if name != PRIVATE:  # there pods ask for a GPU; the embedded engine does not use it
            runs_on["provider"] = "cpu"
        runs_on["environment"] = {
            **stores[Zone(pool["zone"])].variables(),
            "FACEFLOW_LOG__LEVEL": "debug",
            "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000000",
            "FACEFLOW_STORES__TIMEOUT_S": "5",
        }
        if runs_on["kind"] == "kubernetes":
            runs_on |= {"namespace": NAMESPACES[name], "secrets": ["store"]}
        else:  # what moto's machines have room for
            runs_on |= {"cpu_units": 512, "memory_mib": 1024}
        # On-premises runs wait for the next machine of their pool; rented ones are decided anew.
        runs_on["on_termination"] = "crash" if pool["zone"] == "public" else "reschedule"
        listed.append(pool)
    path.write_text(yaml.safe_dump({"pools": listed}))


def prefect_server(folder: Path, postgres: Postgres) -> Server:
    """Prefect's server as the chart starts it, on PostgreSQL."""
    port = free_port()
    home = folder / "prefect-server"
    home.mkdir()
    database = postgres.new_database().replace("postgresql://", "postgresql+asyncpg://")
    environment = {
        **clean_environment(),
        "HOME": str(home),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EVENTS_WEBSOCKET_BACKFILL_PAGE_SIZE": "50",
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return Server(command, f"http://127.0.0.1:{port}/api/health", home / "log", environment, START_S)


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


def command(cloud: Cloud, *arguments: str) -> str:
    """What a faceflow command says on the dispatcher's machine."""
    environment = {**clean_environment(), **cloud.pool_environment()}
    whole = [sys.executable, "-m", "gateway.cli.main", *arguments]
    done = subprocess.run(
        whole, env=environment, cwd=cloud.folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def workers(cloud: Cloud) -> Iterator[None]:
    """A worker for every pool, as the chart starts them, and the dispatcher's."""
    with ExitStack() as stack:
        for pool in (*NAMESPACES, AWS):
            start_worker(cloud, pool)
        stack.callback(lambda: [end(process) for process in cloud.workers.values()])
        with _environment({**clean_environment(), **cloud.pool_environment()}):
            stack.enter_context(local_worker(DISPATCHER, Zone.PRIVATE, "dispatcher", cloud.folder / "dispatcher.log"))
        for pool in (*cloud.workers, DISPATCHER):
            until(lambda pool=pool: cloud.api("GET", f"/work_pools/{pool}")["status"] == "READY", what=f"worker {pool}")
        yield


def start_worker(cloud: Cloud, pool: str) -> None:
    """Starts the worker of a pool of containers."""
    home = cloud.folder / f"worker-{pool}"
    home.mkdir(exist_ok=True)
    environment = {
        **clean_environment(),
        **client_environment(home, cloud.api_url),
        "HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PYTHONPATH": str(ROOT),
    }
    if pool in NAMESPACES:
        config = cloud.kubernetes.write_kubeconfig(home / "kubeconfig", NAMESPACES[pool])
        environment |= {
            "KUBECONFIG": str(config),
            "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES": NAMESPACES[pool],
        }
    else:
        environment |= cloud.amazon.worker_environment
    kind = "kubernetes" if pool in NAMESPACES else "ecs"
    command = ["-m", "prefect", "worker", "start", "--pool", pool, "--type", kind, "--name", f"worker-{pool}"]
    with (home / "log").open("ab") as log:
        cloud.workers[pool] = subprocess.Popen(
            [sys.executable, *command], env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=die_with_parent(),
        )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a worker; its jobs are not its children."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
