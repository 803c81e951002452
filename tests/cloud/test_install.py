"""The Kubernetes part of docs/deploying.md, followed word for word on an empty cluster, until a job has been delivered.

The steps build on one another, as the guide's do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cloud.guide import blocks
from tests.cloud.installation import (
    DISPATCHER,
    ISOLATED,
    JOBS_NAMESPACE,
    PRIVATE,
    Installation,
    company_stores,
    empty_cluster,
)
from tests.cloud.kubernetes_kubelet import Probe
from tests.cloud.kubernetes_network import COMPONENT, Connection, Place, place_of
from tests.cloud.kubernetes_objects import JOBS
from tests.postgres import Postgres
from tests.prefect_api import FINAL, until

NODES, SECRETS, INSTALL, UPGRADE, UNINSTALL = blocks("## 3. Kubernetes")
[REGISTER] = blocks("## Registering")
WORKER = f"faceflow-worker-{PRIVATE}"
PATIENCE_S = 400.0
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def installation(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """As the guide leaves it after the install."""
    folder = tmp_path_factory.mktemp("install")
    with company_stores(folder / "redis", postgres) as stores, empty_cluster(folder, stores) as installation:
        operator = installation.operator
        # Two lines with one placeholder: a machine for each zone.
        for line, node in zip(NODES.splitlines(), ("machine-1", "machine-2"), strict=True):
            operator.follow(line, {"NODE": node})
        operator.follow(SECRETS)
        *commands, last = INSTALL.splitlines()
        assert "port-forward" in last  # the test goes to the service's address instead: Installation.prefect
        installation.said = operator.follow("\n".join(commands))
        yield installation


def test_the_server_runs_twice_and_its_database_was_made_once(installation: Installation) -> None:
    assert installation.deployment("faceflow-server")["status"]["readyReplicas"] == 2
    assert installation.restarts("faceflow-server") == [0, 0]
    shown = installation.operator.run("kubectl -n faceflow get deployments,pods")
    assert "faceflow-server" in shown
    assert "faceflow-migrate" not in shown


def test_the_log_of_the_install_tells_what_was_made(installation: Installation) -> None:
    said = " ".join(installation.said.split())
    for made in (f"work pool │ {PRIVATE}", f"swap-video/{PRIVATE}", f"dispatch/{DISPATCHER}", "0 up to date"):
        assert made in said, installation.said


def test_each_worker_of_the_values_reports_to_the_server(installation: Installation) -> None:
    for pool in (PRIVATE, ISOLATED, DISPATCHER):
        until(
            lambda pool=pool: installation.prefect.api("GET", f"/work_pools/{pool}")["status"] == "READY",  # type: ignore[misc]
            PATIENCE_S, f"worker of {pool}",
        )  # fmt: skip


def test_workers_say_how_they_are_where_the_kubelet_asks(installation: Installation) -> None:
    pods = [pod for pod in installation.pods("faceflow") if "livenessProbe" in pod["spec"]["containers"][0]]
    workers = [pod for pod in pods if "server" not in pod["metadata"]["labels"][COMPONENT]]
    assert len(workers) == 3
    for pod in workers:
        [container] = pod["spec"]["containers"]
        at_once = {**container["livenessProbe"], "initialDelaySeconds": 0, "periodSeconds": 1}
        probe = Probe.of({**container, "livenessProbe": at_once}, "liveness", pod["status"]["podIP"])
        until(probe.ask, 150, f"health of {pod['metadata']['name']}")


def test_a_private_job_runs_in_its_namespace_and_is_delivered(installation: Installation) -> None:
    prefect = installation.prefect
    said = prefect.dispatch(installation.job())
    [run_id] = [run["flow_run_id"] for run in said["runs"]]

    def ended() -> str | None:
        installation.network.look()
        return state if (state := prefect.run(run_id)["state_type"]) in FINAL else None

    assert until(ended, PATIENCE_S, "the end of the job") == "COMPLETED", prefect.run(run_id)["state"]
    [job] = [one for (namespace, _), one in installation.cluster.things[JOBS].items() if namespace == JOBS_NAMESPACE]
    assert job["metadata"]["labels"]["prefect.io/flow-run-id"] == run_id
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    until(lambda: job["status"].get("succeeded") == 1, 60, "the end of the Kubernetes Job")
    assert b"ftyp" in installation.result.read_bytes()[:12]
    assert installation.api.refused == []


def test_network_policies_let_through_what_was_needed_and_nothing_more(installation: Installation) -> None:
    network = installation.network
    network.look()
    known = {(one.source.name, one.target.name) for one in network.seen}
    # Databases and the Kubernetes API have the address of this machine.
    assert {
        ("server", "127.0.0.1"), ("worker", "127.0.0.1"), ("worker", "server"), ("dispatcher", "server"),
        (f"job of {PRIVATE}", "server"),
    } <= known  # fmt: skip
    assert [one for one in network.seen if not network.allows(one)] == []

    [job] = {one.source for one in network.seen if one.source.name == f"job of {PRIVATE}"}
    [worker] = [place_of(pod) for pod in installation.pods("faceflow") if WORKER in pod["metadata"]["name"]]
    [server, *_] = [one.target for one in network.seen if one.target.name == "server"]
    outside, api_port = Place("127.0.0.1"), installation.api.port
    assert network.allows(Connection(worker, outside, api_port))
    assert not network.allows(Connection(job, outside, api_port))
    assert not network.allows(Connection(worker, outside, 5432))
    assert not network.allows(Connection(job, server, 22))
    assert not network.allows(Connection(Place("203.0.113.1"), server, 4200))
    assert not network.allows(Connection(worker, job, 8080))


def test_workers_have_the_rights_of_their_role_and_nobody_else_has_any(installation: Installation) -> None:
    manifest = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "asked"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}},
    }  # fmt: skip
    (installation.folder / "asked.json").write_text(json.dumps(manifest))
    ask = "kubectl create --dry-run=server -f asked.json -n"
    worker = installation.account(WORKER)
    assert "created" in worker.run(f"{ask} {JOBS_NAMESPACE}")
    for beyond in (f"{ask} faceflow-isolated", f"{ask} faceflow", f"kubectl -n {JOBS_NAMESPACE} get secrets"):
        assert "Forbidden" in worker.run(beyond, fails=True)
    assert "Forbidden" in installation.account("faceflow-server").run(f"{ask} {JOBS_NAMESPACE}", fails=True)
    holders = {
        name.rpartition("-")[0].rpartition("-")[0]
        for name, container in installation.cluster.containers.items()
        if "KUBECONFIG" in container.environment
    }
    assert holders == {WORKER, f"faceflow-worker-{ISOLATED}"}

    role = installation.cluster.get("roles", JOBS_NAMESPACE, WORKER)
    [jobs, *others] = role["rules"]
    less = {"rules": [{**jobs, "verbs": [verb for verb in jobs["verbs"] if verb != "create"]}, *others]}
    patch = "kubectl -n {} patch role {} --type merge -p '{}'"
    installation.operator.run(patch.format(JOBS_NAMESPACE, WORKER, json.dumps(less)))
    assert 'cannot create resource "jobs"' in worker.run(f"{ask} {JOBS_NAMESPACE}", fails=True)
    installation.operator.run(patch.format(JOBS_NAMESPACE, WORKER, json.dumps({"rules": role["rules"]})))
    assert "created" in worker.run(f"{ask} {JOBS_NAMESPACE}")


def test_an_upgrade_registers_the_changed_list(installation: Installation) -> None:
    assert installation.prefect.api("GET", f"/work_pools/{PRIVATE}")["concurrency_limit"] == 12
    installation.write_pools(gpus=6)
    installation.operator.follow(UPGRADE)
    assert installation.prefect.api("GET", f"/work_pools/{PRIVATE}")["concurrency_limit"] == 6
    said = " ".join(installation.operator.run("kubectl -n faceflow logs job/faceflow-register-2").split())
    assert "concurrency_limit: 12 -> 6" in said
    # The dispatcher reads the list when it starts.
    installation.operator.run("kubectl -n faceflow rollout status deployment/faceflow-dispatcher --timeout 5m")


def test_whoever_registers_from_his_own_machine_finds_nothing_to_do(installation: Installation) -> None:
    address = installation.prefect.api_url.partition("@")[2]
    said = installation.operator.follow(REGISTER, {"https://SERVER/api": f"http://{address}"})
    assert "0 differ, nothing was changed" in said
    assert said.rstrip().endswith("0 changed")


def test_an_uninstall_ends_everything_and_keeps_what_was_stored(installation: Installation) -> None:
    claims = "kubectl get persistentvolumeclaims -A -o name"
    before = installation.operator.run(claims)
    assert before.count("faceflow-state") == before.count("faceflow-models") == 2
    installation.operator.follow(UNINSTALL)
    containers = installation.cluster.containers.values()
    until(lambda: not any(one.is_running for one in containers), 120, "the end of every process")
    assert installation.operator.run(claims) == before
    closed = installation.operator.run("kubectl get networkpolicies -A -o name")
    assert closed.split() == ["networkpolicy.networking.k8s.io/default-deny"] * 2
    assert installation.operator.run("helm list -n faceflow -q").strip() == ""
    assert "No resources found" in installation.operator.run("kubectl -n faceflow get deployments,pods,jobs")
