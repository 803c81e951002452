"""The trial of docs/deploying.md, followed word for word on an empty cluster: the chart brings PostgreSQL and Redis.

The steps build on one another.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.cloud.guide import blocks
from tests.cloud.installation import DISPATCHER, JOB, PRIVATE, Installation, empty_cluster
from tests.cloud.kubernetes_network import Connection, Place, place_of
from tests.cloud.kubernetes_objects import CLAIMS, SERVICES, decoded
from tests.cloud.kubernetes_services import is_ready
from tests.postgres import missing, programs
from tests.prefect_api import FINAL, until
from tests.servers import needed

SECRETS, INSTALL, REMOVE = blocks("### For a trial")
CLAIM, POSTGRESQL = "data-faceflow-postgresql-0", "faceflow-postgresql-0"
REACHES = {"server": ("postgresql", "redis"), "dispatcher": ("postgresql",)}
PATIENCE_S = 400.0
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """As the guide leaves it after the install."""
    if programs() is None:
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    needed("redis-server", "redis-server")
    # Not in pytest's folder: PostgreSQL runs as a user who may not look into it.
    folder = Path(tempfile.mkdtemp(prefix="faceflow-trial-"))
    folder.chmod(0o755)
    try:
        with empty_cluster(folder, {"REGISTRY/PROJECT": "near/project"}) as installation:
            try:
                installation.operator.follow(SECRETS)
                *commands, last = INSTALL.splitlines()
                assert "port-forward" in last
                installation.said = installation.operator.follow("\n".join(commands))
                yield installation
            finally:
                if (container := installation.cluster.containers.get(POSTGRESQL)) is not None:
                    container.stop(30)  # killed, it would leave shared memory behind
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row(installation: Installation, key: str, query: str) -> Any:
    """What the chart's PostgreSQL answers, asked with the secret's own address `key`."""
    secret = installation.cluster.get("secrets", "faceflow", "faceflow-database")["data"]
    name = "faceflow-postgresql.faceflow.svc"
    service = installation.cluster.get(SERVICES, "faceflow", "faceflow-postgresql")["spec"]["clusterIP"]
    address = decoded(secret[key]).replace("+asyncpg", "").replace(name, service)
    with psycopg.connect(address, connect_timeout=10) as connection:
        found = connection.execute(query).fetchone()
    assert found is not None
    return found[0]


def postgresql(installation: Installation) -> str:
    """Which pod it is that takes connections; empty while there is none."""
    ready = [one for one in installation.pods("faceflow") if one["metadata"]["name"] == POSTGRESQL and is_ready(one)]
    return ready[0]["metadata"]["uid"] if ready else ""


def has_database(installation: Installation) -> bool:
    """Whether the server says that it can reach its database; no answer yet is a no."""
    try:
        return httpx.get(f"{installation.prefect.api_url}/ready", timeout=10, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_what_the_list_says_is_on_the_server(installation: Installation) -> None:
    said = " ".join(installation.said.split())
    assert f"dispatch/{DISPATCHER}" in said, said
    assert installation.prefect.api("GET", f"/work_pools/{PRIVATE}")["concurrency_limit"] == 12
    assert installation.deployment("faceflow-server")["status"]["readyReplicas"] == 1
    shown = installation.operator.run("kubectl -n faceflow get statefulsets,deployments,persistentvolumeclaims")
    for made in ("faceflow-postgresql", "faceflow-redis", CLAIM):
        assert made in shown


@pytest.fixture(scope="module")
def decided(installation: Installation) -> dict[str, Any]:
    """What the dispatcher answered to a job, which waits for a worker."""
    prefect = installation.prefect
    known = {"frames": 120, "duration_s": 4.0}
    begun = prefect.start(f"dispatch/{DISPATCHER}", {"job": JOB, "known": known})

    def ended() -> dict[str, Any] | None:
        installation.network.look()
        return run if (run := prefect.run(begun["id"]))["state_type"] in FINAL else None

    answer = prefect.answer(until(ended, PATIENCE_S, "the decision"))
    assert answer["state"] == "held"
    return answer


def test_a_job_is_decided_and_lies_in_the_charts_postgresql(
    installation: Installation, decided: dict[str, Any]
) -> None:
    books, server = "FACEFLOW_DATABASE__URL", "PREFECT_API_DATABASE_CONNECTION_URL"
    assert row(installation, books, "SELECT job_id FROM requests") == decided["request_id"]
    assert row(installation, server, f"SELECT count(*) FROM work_pool WHERE name = '{PRIVATE}'") == 1


@pytest.mark.usefixtures("decided")
def test_only_server_and_dispatcher_reach_the_stores(installation: Installation) -> None:
    network = installation.network
    known = {(one.source.name, one.target.name) for one in network.seen}
    expected = {(source, store) for source, stores in REACHES.items() for store in stores}
    assert expected | {("dispatcher", "server")} <= known
    assert [one for one in network.seen if not network.allows(one)] == []
    places = {place.name: place for place in map(place_of, installation.pods("faceflow"))}
    reached = {
        (source, store)
        for source in places
        for store, port in (("postgresql", 5432), ("redis", 6379))
        if source != store and network.allows(Connection(places[source], places[store], port))
    }
    assert reached == expected
    job = Place("", "faceflow-jobs", (("faceflow.io/pool", PRIVATE),))
    assert not network.allows(Connection(Place("203.0.113.1"), places["postgresql"], 5432))
    assert not network.allows(Connection(job, places["redis"], 6379))


@pytest.mark.full
def test_an_upgrade_leaves_the_databases_alone(installation: Installation) -> None:
    before = postgresql(installation)
    [install] = [INSTALL.partition("kubectl")[0]]
    installation.operator.follow(install.replace("helm install", "helm upgrade"))
    installation.operator.run("kubectl -n faceflow wait --for condition=complete --timeout 5m job/faceflow-register-2")
    assert postgresql(installation) == before
    said = " ".join(installation.operator.run("kubectl -n faceflow logs job/faceflow-register-2").split())
    assert said.rstrip().endswith("0 changed"), said


@pytest.mark.usefixtures("decided")
def test_postgresql_that_is_killed_comes_back_with_its_data(installation: Installation) -> None:
    restarts = installation.restarts("faceflow-server")
    lost = postgresql(installation)
    installation.operator.run(f"kubectl -n faceflow delete pod {POSTGRESQL} --grace-period 0 --force")
    until(lambda: postgresql(installation) not in {"", lost}, PATIENCE_S, "another PostgreSQL")
    until(lambda: has_database(installation), PATIENCE_S, "the server with its database")
    assert installation.restarts("faceflow-server") == restarts
    assert row(installation, "FACEFLOW_DATABASE__URL", "SELECT count(*) FROM requests") == 1
    pool = f"/work_pools/{PRIVATE}"
    assert installation.prefect.api("GET", pool)["concurrency_limit"] == 12
    installation.prefect.api("PATCH", pool, description="written since")
    assert installation.prefect.api("GET", pool)["description"] == "written since"


@pytest.mark.full
def test_the_same_job_is_still_known_then(installation: Installation, decided: dict[str, Any]) -> None:
    again = installation.prefect.dispatch(JOB)
    assert (again["request_id"], again["state"]) == (decided["request_id"], "held")
    assert row(installation, "FACEFLOW_DATABASE__URL", "SELECT count(*) FROM requests") == 1


def uninstall(installation: Installation) -> None:
    """The first line of the guide's last block."""
    installation.operator.follow(REMOVE.splitlines()[0])
    containers = installation.cluster.containers.values()
    until(lambda: not any(one.is_running for one in containers), 120, "the end of every process")


def test_an_uninstall_keeps_the_volume(installation: Installation) -> None:
    uninstall(installation)
    kept = {key for key in installation.cluster.things[CLAIMS] if key[0] == "faceflow"}
    assert kept == {("faceflow", CLAIM)}
    assert "database system is shut down" in installation.cluster.containers[POSTGRESQL].log.read_text()


@pytest.mark.full
def test_the_next_install_goes_on_with_it(installation: Installation) -> None:
    install, rollout = INSTALL.replace("\\\n", "").splitlines()[:2]
    assert "rollout status deployment/faceflow-server" in rollout
    installation.operator.follow(f"{install}\n{rollout}")
    assert installation.prefect.api("GET", f"/work_pools/{PRIVATE}")["description"] == "written since"
    assert row(installation, "FACEFLOW_DATABASE__URL", "SELECT count(*) FROM requests") == 1
    uninstall(installation)


def test_what_is_removed_then_is_gone(installation: Installation) -> None:
    installation.operator.follow("\n".join(REMOVE.splitlines()[1:]))
    shown = installation.operator.run("kubectl -n faceflow get persistentvolumeclaims,secrets -o name")
    assert "faceflow-database" not in shown
    assert CLAIM not in shown
