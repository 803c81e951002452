"""Workers of the chart, held against what Prefect's own workers make of their variables for a job."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.runs_on import EcsRunsOn
from tests.manifests.conftest import CHART, EXAMPLE, POLICY, Objects, name_of, of_kind, stack_template
from tests.pools.conftest import POOLS_FILE, changed, ecs_task, environment_of

Render = Callable[..., Objects]
Helm = Callable[..., subprocess.CompletedProcess[str]]
LISTED = load_pools(POOLS_FILE.read_text(), POOLS_FILE.name).pools
ON_ECS = {pool.name: pool for pool in LISTED if isinstance(pool.runs_on, EcsRunsOn)}
SERVER = "https://faceflow.example/api"


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with its worker of ECS for each pool of the list that runs there."""
    values = yaml.safe_load(EXAMPLE.read_text())
    [example] = [worker for worker in values["workers"] if worker.get("type") == "ecs"]
    values["workers"] = [{**example, "pool": name} for name in ON_ECS]
    file = tmp_path_factory.mktemp("values") / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def pod_of(objects: Objects, pool: str) -> dict[str, Any]:
    """Of a pool's worker, with its labels."""
    [found] = [one for one in of_kind(objects, "Deployment") if name_of(one) == f"faceflow/faceflow-worker-{pool}"]
    template: dict[str, Any] = found["spec"]["template"]
    return {**template["spec"], "labels": template["metadata"]["labels"]}


def variables_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The plain ones, and for the others where they come from."""
    [container] = pod["containers"]
    names = [one["name"] for one in container["env"]]
    assert len(set(names)) == len(names), "a variable stands twice"
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_workers_of_ecs_have_command_keys_and_queue_and_no_token(rendered: Render, values: Path) -> None:
    assert len(ON_ECS) == 2
    objects = rendered("-f", str(values))
    for name in ON_ECS:
        pod = pod_of(objects, name)
        [container] = pod["containers"]
        assert container["args"] == [
            "prefect", "worker", "start", "--pool", name, "--type", "ecs", "--with-healthcheck", "--limit", "20",
        ]  # fmt: skip
        assert container["envFrom"] == [{"secretRef": {"name": "faceflow-aws"}}]
        variables = variables_of(pod)
        assert variables["AWS_DEFAULT_REGION"] == "us-east-1"
        queue = stack_template()["Resources"]["TaskEvents"]["Properties"]["QueueName"]
        named = queue.replace("${ClusterName}", stack_template()["Parameters"]["ClusterName"]["Default"])
        assert variables["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] == named
        assert variables["PREFECT_API_AUTH_STRING"]["secretKeyRef"]["name"] == "faceflow-api"
        assert not [variable for variable in variables if "KUBERNETES" in variable]
        assert pod["automountServiceAccountToken"] is False
        assert pod["labels"]["faceflow.io/starts-on"] == "ecs"
    assert of_kind(objects, "Role", "RoleBinding") == []


def test_jobs_on_ecs_reach_the_server_and_read_its_password_from_a_secret(rendered: Render, values: Path) -> None:
    """Prefect's worker hands its own settings on: a name that only its cluster knows would be of no use to a task."""
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:faceflow"
    objects = rendered("-f", str(values))
    for name, pool in ON_ECS.items():
        settings = {PREFECT_API_URL: variables_of(pod_of(objects, name))["PREFECT_API_URL"]}
        with temporary_settings(settings | {PREFECT_API_AUTH_STRING: "user:password"}):
            definition, request = ecs_task(changed(pool, api_secret=secret))
        [override] = request["overrides"]["containerOverrides"]
        environment = environment_of(override)
        assert environment["PREFECT_API_URL"] == SERVER
        assert "user:password" not in str((definition, request))
        [container] = [one for one in definition["containerDefinitions"] if one["name"] == override["name"]]
        assert container["secrets"] == [{"name": "PREFECT_API_AUTH_STRING", "valueFrom": secret}]


def test_jobs_in_the_cluster_take_the_way_inside(rendered: Render) -> None:
    variables = variables_of(pod_of(rendered(), "private-k8s"))
    assert variables["PREFECT_API_URL"] == "http://faceflow-server.faceflow.svc:4200/api"


@pytest.mark.parametrize(("url", "port"), [(SERVER, 443), ("http://faceflow.example:4200/api", 4200)])
def test_workers_of_a_second_cluster_may_reach_the_server_of_the_first(rendered: Render, url: str, port: int) -> None:
    elsewhere = ("enabled=false", f"apiUrl={url}", "cidr=10.30.0.0/24")
    objects = rendered("--set", ",".join(f"server.{one}" for one in elsewhere))
    [policy] = [one for one in of_kind(objects, "NetworkPolicy") if name_of(one) == "faceflow/faceflow-workers"]
    assert policy["spec"]["egress"][1:] == [
        {"to": [{"ipBlock": {"cidr": "10.30.0.0/24"}}], "ports": [{"protocol": "TCP", "port": port}]}
    ]


def test_a_worker_of_ecs_needs_an_address_that_aws_knows(
    helm: Callable[..., subprocess.CompletedProcess[str]], rendered: Render
) -> None:
    done = helm("template", "faceflow", CHART, "-f", EXAMPLE, *POLICY, "--set", "workers[2].apiUrl=")
    assert done.returncode != 0
    assert "apiUrl is needed for the worker aws-g4dn-spot" in done.stderr
    inside = "workers[2].apiUrl=http://faceflow-server.faceflow.svc:4200/api"
    assert helm("template", "faceflow", CHART, "-f", EXAMPLE, *POLICY, "--set", inside).returncode != 0
    elsewhere = ("server.enabled=false", f"server.apiUrl={SERVER}", "workers[2].apiUrl=")
    objects = rendered("--set", ",".join(elsewhere))
    assert variables_of(pod_of(objects, "aws-g4dn-spot"))["PREFECT_API_URL"] == SERVER


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ({"pool": "privat-k8s", "namespace": "faceflow-jobs"}, "the list of pools has no pool privat-k8s; it has"),
        ({"pool": "private-k8s"}, "jobs of pool private-k8s run in the namespace faceflow-jobs"),
        ({"pool": "private-k8s", "namespace": "faceflow"}, "jobs of pool private-k8s run in the namespace"),
        ({"pool": "aws-g4dn-spot", "namespace": "faceflow-jobs"}, "pool aws-g4dn-spot runs on ecs"),
    ],
)
def test_workers_that_the_list_of_pools_contradicts_are_refused(helm: Helm, worker: dict[str, str], said: str) -> None:
    done = helm("template", "faceflow", CHART, "-f", EXAMPLE, *POLICY, "--set-json", f"workers={json.dumps([worker])}")
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    ("listed", "said"),
    [("pools: [", "cannot be read"), ("- a", "cannot be read"), ("pools: [{zone: private}]", "has no name"),
     ("pools: []", "it has none")],
)  # fmt: skip
def test_a_list_of_pools_that_is_none_is_said(helm: Helm, tmp_path: Path, listed: str, said: str) -> None:
    (tmp_path / "pools.yaml").write_text(listed)
    done = helm("template", "faceflow", CHART, "-f", EXAMPLE, "--set-file", f"pools={tmp_path / 'pools.yaml'}")
    assert done.returncode != 0
    assert said in done.stderr


def test_workers_reach_no_address_that_nobody_named(helm: Helm, rendered: Render) -> None:
    nowhere = ["--set", "kubernetesApi.cidr="]
    done = helm("template", "faceflow", CHART, "-f", EXAMPLE, *POLICY, *nowhere)
    assert done.returncode != 0
    assert "kubernetesApi.cidr is needed" in done.stderr
    alone = rendered(*nowhere, "--set-json", "workers=[]")
    assert "workers-kubernetes" not in str([name_of(one) for one in of_kind(alone, "NetworkPolicy")])
