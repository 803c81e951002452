"""Puts the hybrid cloud of one machine together: servers, stores, cluster, AWS, and a worker for every pool.

The list of pools is the shipped one (four of its pools, on the CPU), made known by `faceflow register`; the rules are
pushed into etcd by `faceflow policy push`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.server_keeper import die_with_parent
from faceflow.infrastructure.machine.worker import local_worker
from faceflow.zones import Zone
from tests.cloud.amazon import running_amazon
from tests.cloud.cloud import (
    AWS,
    AZURE,
    DISPATCHER,
    ISOLATED,
    NAMESPACES,
    NODES,
    PRIVATE,
    RULES_FILE,
    Cloud,
    Services,
    clean_environment,
    command,
    register,
)
from tests.cloud.containers import Container
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.kubernetes_cluster import Cluster, Thing
from tests.cloud.metrics import measured
from tests.cloud.zone_stores import PUBLIC_BUCKET, S3_KEYS, ZoneStore, running_stores
from tests.conftest import ROOT
from tests.postgres import Postgres
from tests.prefect_api import until
from tests.servers import Server, free_port, running_etcd, running_redis

POOLS_FILE = ROOT / "deployments/policies/pools.yaml"
FLOW_RUN = "prefect.io/flow-run-id"
START_S = 600.0


@contextmanager
def running_cloud(folder: Path, postgres: Postgres) -> Iterator[Cloud]:
    """The whole cloud while the block lasts."""
    with ExitStack() as stack:
        amazon = stack.enter_context(running_amazon(folder / "aws", S3_KEYS))
        amazon.prepare([PUBLIC_BUCKET])
        stores = stack.enter_context(running_stores(folder, amazon.url))
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

        redis_url = stack.enter_context(running_redis(folder / "redis"))
        server = prefect_server(folder, postgres, redis_url)
        server.start()
        stack.callback(server.end)
        api_url = server.ready_url.removesuffix("/health")
        _, etcd = stack.enter_context(running_etcd(folder / "etcd"))
        services = Services(
            postgres.new_database(),
            f"etcd://{etcd}/faceflow/rules",
            stack.enter_context(measured(folder / "prometheus", cluster, {"private-1": PRIVATE})),
        )
        cloud = Cloud(api_url, DISPATCHER, folder, services, amazon, cluster, kubernetes, server, stores)

        def of_pod(container: Container, pod: Thing) -> None:
            labels = pod["metadata"]["labels"]
            cloud.on_container(labels["faceflow.io/pool"], labels[FLOW_RUN], container)

        def of_task(container: Container, task: dict[str, Any]) -> None:
            cloud.on_container(task["family"].removeprefix("faceflow-"), task["tags"][FLOW_RUN], container)

        cluster.on_container, amazon.on_container = of_pod, of_task
        command(cloud, "policy", "push", str(RULES_FILE), "--to", services.rules)
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


def prefect_server(folder: Path, postgres: Postgres, redis_url: str) -> Server:
    """Prefect's server as the chart starts it, on PostgreSQL and Redis."""
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
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_URL": redis_url,
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return Server(command, f"http://127.0.0.1:{port}/api/health", home / "log", environment, START_S)


def _end_all(cloud: Cloud) -> None:
    for process in cloud.workers.values():
        end(process)


def _worker_is_heard_of(cloud: Cloud, pool: str) -> None:
    until(lambda: cloud.api("GET", f"/work_pools/{pool}")["status"] == "READY", what=f"worker {pool}")


@contextmanager
def workers(cloud: Cloud) -> Iterator[None]:
    """A worker for every pool, as the chart starts them, and the dispatcher's."""
    with ExitStack() as stack:
        for pool in (*NAMESPACES, AWS):
            start_worker(cloud, pool)
        stack.callback(_end_all, cloud)
        with _environment({**clean_environment(), **cloud.pool_environment()}):
            stack.enter_context(local_worker(DISPATCHER, Zone.PRIVATE, "dispatcher", cloud.folder / "dispatcher.log"))
        for pool in (*cloud.workers, DISPATCHER):
            _worker_is_heard_of(cloud, pool)
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
