"""The Helm chart: valid without a cluster, and no right or open way more than its parts need."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.runs_on import KubernetesRunsOn
from tests.conftest import ROOT
from tests.manifests.conftest import CHART, EXAMPLE, POLICY, Objects, name_of, of_kind, pods_of
from tests.pools.conftest import POOLS_FILE

Helm = Callable[..., subprocess.CompletedProcess[str]]
JOB_NAMESPACES = ("faceflow-jobs", "faceflow-isolated")
VERBS = {
    ("batch", "jobs"): {"create", "delete", "get", "list", "watch"},
    ("", "pods"): {"list", "watch"},
    ("", "pods/log"): {"get"},
}


def test_the_chart_passes_lint(helm: Helm) -> None:
    done = helm("lint", "--strict", CHART, "-f", EXAMPLE, *POLICY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_object_is_valid_kubernetes(objects: Objects) -> None:
    assert len(objects) > 40
    for one in objects:
        kubernetes_validate.validate(one, "1.33", strict=True)


def test_workers_may_do_this_in_their_namespace_and_nothing_else(objects: Objects) -> None:
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    roles = of_kind(objects, "Role")
    assert {name_of(role) for role in roles} == {
        "faceflow-jobs/faceflow-worker-private-k8s",
        "faceflow-isolated/faceflow-worker-isolated-k8s",
    }
    for role in roles:
        granted = {
            (group, resource): set(rule["verbs"])
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        assert granted == VERBS
    for binding in of_kind(objects, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert (subject["namespace"], subject["name"]) == ("faceflow", binding["roleRef"]["name"])


def test_only_kubernetes_workers_hold_a_token(objects: Objects) -> None:
    holders = [
        one["metadata"]["name"]
        for one in of_kind(objects, "Deployment", "StatefulSet", "Job")
        if one["spec"]["template"]["spec"].get("automountServiceAccountToken", True)
    ]
    assert sorted(holders) == ["faceflow-worker-isolated-k8s", "faceflow-worker-private-k8s"]
    accounts = of_kind(objects, "ServiceAccount")
    bound = {subject["name"] for binding in of_kind(objects, "RoleBinding") for subject in binding["subjects"]}
    assert not bound & {one["metadata"]["name"] for one in accounts if one["metadata"]["namespace"] in JOB_NAMESPACES}


def test_every_container_is_an_ordinary_user_on_a_read_only_root(objects: Objects) -> None:
    for pod in pods_of(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, container["name"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert (security["privileged"], security["allowPrivilegeEscalation"]) == (False, False)
            assert container["resources"]["limits"]["memory"]


def policies(objects: Objects, namespace: str) -> dict[str, dict[str, Any]]:
    return {
        policy["metadata"]["name"]: policy["spec"]
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["metadata"]["namespace"] == namespace
    }


@pytest.mark.parametrize("namespace", JOB_NAMESPACES)
def test_namespaces_of_jobs_are_closed_by_default(objects: Objects, namespace: str) -> None:
    assert policies(objects, namespace)["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (found,) = [one for one in of_kind(objects, "Namespace") if one["metadata"]["name"] == namespace]
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_isolated_jobs_reach_the_server_and_names_only(objects: Objects) -> None:
    found = policies(objects, "faceflow-isolated")
    assert found.keys() == {"default-deny", "faceflow-jobs"}
    egress = found["faceflow-jobs"]["egress"]
    assert [sorted(port["port"] for port in rule["ports"]) for rule in egress] == [[53, 53], [4200]]
    assert "ipBlock" not in json.dumps(egress), "no address outside the cluster"
    assert "ingress" not in found["faceflow-jobs"]


def test_private_jobs_reach_their_store_besides(objects: Objects) -> None:
    egress = policies(objects, "faceflow-jobs")["faceflow-jobs"]["egress"]
    assert egress[2:] == [{"to": [{"ipBlock": {"cidr": "10.20.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 443}]}]


def test_the_server_is_reached_by_the_release_and_by_jobs_only(objects: Objects) -> None:
    found = policies(objects, "faceflow")
    assert found["faceflow-default-deny"]["policyTypes"] == ["Ingress"]
    (ingress,) = found["faceflow-server"]["ingress"]
    namespaces = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in ingress["from"]
        if "namespaceSelector" in peer
    ]
    assert tuple(namespaces) == JOB_NAMESPACES
    assert found["faceflow-workers-kubernetes"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]


def test_the_chart_makes_what_jobs_of_the_list_ask_for(objects: Objects) -> None:
    """Namespaces, accounts, volume claims and priority classes have the names that the templates use."""
    made = {(one["kind"], name_of(one)) for one in objects}
    listed = load_pools(POOLS_FILE.read_text(), POOLS_FILE.name)
    for name in ("private-k8s", "isolated-k8s"):
        runs_on = listed.by_name[name].runs_on
        assert isinstance(runs_on, KubernetesRunsOn)
        assert ("Namespace", f"/{runs_on.namespace}") in made
        assert ("ServiceAccount", f"{runs_on.namespace}/{runs_on.service_account}") in made
        assert ("PersistentVolumeClaim", f"{runs_on.namespace}/{runs_on.models_claim}") in made
        assert ("PersistentVolumeClaim", f"{runs_on.namespace}/{runs_on.state_claim}") in made
        assert ("PriorityClass", f"/{runs_on.priority_class}") in made
    (policy,) = [one for one in of_kind(objects, "ConfigMap") if name_of(one) == "faceflow/faceflow-policy"]
    assert load_pools(policy["data"]["pools.yaml"], "the chart's") == listed


def test_passwords_come_from_secrets(objects: Objects) -> None:
    for pod in pods_of(objects):
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                if any(word in variable["name"] for word in ("PASSWORD", "AUTH_STRING", "DATABASE")):
                    if variable["name"].endswith(("SECRET_NAME", "SECRET_KEY", "MIGRATE_ON_START")):
                        continue
                    assert "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_several_servers_share_their_events_and_tell_browsers_where_to_ask(rendered: Callable[..., Objects]) -> None:
    def variables(*more: str) -> dict[str, Any]:
        (server,) = [one for one in rendered(*more) if name_of(one) == "faceflow/faceflow-server"
                     and one["kind"] == "Deployment"]  # fmt: skip
        return {entry["name"]: entry for entry in server["spec"]["template"]["spec"]["containers"][0]["env"]}

    assert variables()["PREFECT_MESSAGING_BROKER"]["value"] == "prefect_redis.messaging"
    assert variables()["PREFECT_UI_API_URL"]["value"] == "https://faceflow.example/api"
    assert variables("--set", "server.uiApiUrl=")["PREFECT_UI_API_URL"]["value"] == "http://127.0.0.1:4200/api"
    assert "PREFECT_MESSAGING_BROKER" not in variables("--set", "server.replicas=1")


def test_the_database_is_brought_up_to_date_once_before_any_server_starts(rendered: Callable[..., Objects]) -> None:
    def migrations(*more: str) -> tuple[list[str], str]:
        found = rendered(*more)
        hooks = [one["metadata"]["annotations"]["helm.sh/hook"] for one in of_kind(found, "Job")
                 if one["metadata"]["name"] == "faceflow-migrate"]  # fmt: skip
        (server,) = [one for one in of_kind(found, "Deployment") if name_of(one) == "faceflow/faceflow-server"]
        environment = server["spec"]["template"]["spec"]["containers"][0]["env"]
        (on_start,) = [one["value"] for one in environment if one["name"].endswith("MIGRATE_ON_START")]
        return hooks, on_start

    assert migrations() == (["pre-install,pre-upgrade"], "false")
    # Before the install there is no PostgreSQL of the chart's own.
    assert migrations("--set", "postgresql.enabled=true,server.replicas=1") == ([], "true")


def test_servers_that_would_make_the_tables_at_once_are_refused(helm: Helm) -> None:
    done = helm("template", "faceflow", CHART, "-f", EXAMPLE, *POLICY, "--set", "postgresql.enabled=true")
    assert done.returncode != 0
    assert "set server.replicas to 1" in done.stderr


def test_the_charts_postgresql_makes_the_same_databases_as_one_box_and_is_ready_when_it_has(objects: Objects) -> None:
    [content] = [one["data"] for one in of_kind(objects, "ConfigMap") if name_of(one) == "faceflow/faceflow-postgresql"]
    one_box = (ROOT / "deployments/compose/prefect-database.sql").read_text()
    assert content["prefect.sql"].strip() in one_box
    [stateful_set] = of_kind(objects, "StatefulSet")
    [container] = stateful_set["spec"]["template"]["spec"]["containers"]
    assert {"name": "databases", "mountPath": "/docker-entrypoint-initdb.d", "readOnly": True} in container[
        "volumeMounts"
    ]
    # While it makes them it listens on its socket only.
    assert container["readinessProbe"]["exec"]["command"][1:3] == ["-h", "127.0.0.1"]


def test_what_jobs_have_stored_outlives_the_release_behind_closed_doors(objects: Objects) -> None:
    """Claims lie in namespaces: each has to be kept, for a namespace that goes takes its claims along."""
    kept = of_kind(objects, "Namespace", "PersistentVolumeClaim")
    assert len(kept) == 6
    kept += [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"] == "default-deny"]
    assert len(kept) == 8
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in kept} == {"keep"}


def test_servers_write_their_pages_where_they_may(objects: Objects) -> None:
    [server] = [one for one in of_kind(objects, "Deployment") if name_of(one) == "faceflow/faceflow-server"]
    [container] = server["spec"]["template"]["spec"]["containers"]
    [folder] = [one["value"] for one in container["env"] if one["name"] == "PREFECT_UI_STATIC_DIRECTORY"]
    assert any(folder.startswith(f"{mount['mountPath']}/") for mount in container["volumeMounts"])


def test_workers_answer_the_kubelet_at_the_address_of_their_pod(objects: Objects) -> None:
    asked = 0
    for pod in pods_of(objects):
        (container,) = pod["containers"]
        if "--with-healthcheck" in container.get("args", ()):
            variables = {one["name"]: one.get("value") for one in container["env"]}
            assert variables["PREFECT_WORKER_WEBSERVER_HOST"] == "0.0.0.0"
            assert int(variables["PREFECT_WORKER_WEBSERVER_PORT"]) == container["livenessProbe"]["httpGet"]["port"]
            asked += 1
    assert asked == 4


@pytest.mark.parametrize(
    "values",
    [
        "jobs[0].zone=moon",
        "workers[0].limit=0",
        "server.uiApiUrl=faceflow.example",
        "dispatcher.environment.FACEFLOW_POOL__ZONE=isolated",
        "sever.replicas=2",
        "jobs[1].egress[0].cidr=0.0.0.0/0,jobs[1].egress[0].port=443",
    ],
)
def test_values_that_make_no_sense_are_refused(helm: Helm, values: str) -> None:
    done = helm("template", "faceflow", CHART, "-f", EXAMPLE, *POLICY, "--set", values)
    assert done.returncode != 0
    assert "schema" in done.stderr
