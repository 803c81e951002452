"""What a job may and where it is told to be, seen in what Prefect's own workers make of our templates."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from pydantic import ValidationError

from faceflow.infrastructure.machine.pools.environment import pool_environment
from faceflow.infrastructure.machine.pools.templates import base_job_template, jobs_at_once
from faceflow.infrastructure.routing.pools import Pool, Pools
from faceflow.infrastructure.routing.runs_on import EcsRunsOn, KubernetesRunsOn
from tests.pools.conftest import changed, ecs_task, environment_of, kubernetes_job

KUBERNETES = ("isolated-k8s", "private-k8s", "azure-t4-spot", "azure-t4-on-demand", "alibaba-gn6i-spot")
ECS = ("aws-g4dn-spot", "aws-g4dn-on-demand")
FORGED = {
    "env": {"FACEFLOW_POOL__ZONE": "isolated", "FACEFLOW_POOL__NAME": "other"},
    "env.FACEFLOW_POOL__ZONE": "isolated",
    "image": "elsewhere/other:latest",
    "namespace": "kube-system",
    "command": "sh",
    "service_account_name": "admin",
}


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]


def test_every_shipped_pool_says_what_it_runs_on(pools: Pools) -> None:
    kinds = {pool.name: type(pool.runs_on) for pool in pools.pools}
    assert kinds == dict.fromkeys(KUBERNETES, KubernetesRunsOn) | dict.fromkeys(ECS, EcsRunsOn)


@pytest.mark.parametrize("name", KUBERNETES)
def test_a_kubernetes_job_is_valid_and_has_no_rights(pools: Pools, name: str) -> None:
    job = kubernetes_job(changed(pools.by_name[name], models=("inswapper_128",), secrets=["store"]))
    kubernetes_validate.validate(job, "1.33", strict=True)
    pod = pod_of(job)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all(volume.keys() & {"persistentVolumeClaim", "emptyDir"} for volume in pod["volumes"])
    assert (job["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")


@pytest.mark.parametrize("name", KUBERNETES)
def test_a_kubernetes_job_has_one_device_and_its_own_scratch(pools: Pools, name: str) -> None:
    pod = pod_of(kubernetes_job(pools.by_name[name]))
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["resources"]["limits"] == container["resources"]["requests"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    environment = environment_of(container)
    assert mounts[environment["FACEFLOW_PATHS__SCRATCH"]]["emptyDir"] == {"sizeLimit": "40Gi"}
    assert mounts[environment["FACEFLOW_PATHS__STATE"]]["persistentVolumeClaim"]["claimName"] == "faceflow-state"
    assert mounts[environment["FACEFLOW_MODELS__FOLDER"]]["persistentVolumeClaim"]["claimName"] == "faceflow-models"
    assert environment["HOME"] in mounts, "the root file system is read-only"
    assert environment["FACEFLOW_ENGINE__PROVIDER"] == "cuda", "stated, never guessed"


def test_the_isolated_pool_has_machines_account_and_namespace_of_its_own(pools: Pools) -> None:
    job = kubernetes_job(pools.by_name["isolated-k8s"])
    pod = pod_of(job)
    others = [kubernetes_job(pools.by_name[name]) for name in KUBERNETES if name != "isolated-k8s"]
    assert job["metadata"]["namespace"] not in {other["metadata"]["namespace"] for other in others}
    assert pod["serviceAccountName"] not in {pod_of(other)["serviceAccountName"] for other in others}
    assert pod["nodeSelector"] == {"faceflow.io/zone": "isolated"}
    taint = {"key": "faceflow.io/zone", "value": "isolated", "effect": "NoExecute"}
    assert taint in pod["tolerations"]
    for other in others:
        assert taint not in pod_of(other).get("tolerations", [])
        assert pod_of(other)["nodeSelector"].items() != pod["nodeSelector"].items()
    assert job["spec"]["template"]["metadata"]["labels"]["faceflow.io/zone"] == "isolated"


@pytest.mark.parametrize("name", ECS)
def test_an_ecs_task_has_one_gpu_of_its_capacity_provider_and_no_rights(pools: Pools, name: str) -> None:
    pool = changed(pools.by_name[name], models=("inswapper_128",), file_system="fs-0123456789abcdef0")
    definition, request = ecs_task(pool)
    containers = {container["name"]: container for container in definition["containerDefinitions"]}
    job, preload = containers["faceflow"], containers["preload-models"]
    for container in (job, preload):
        assert container["user"] == "1000:1000"
        assert container["privileged"] is False
        assert container["readonlyRootFilesystem"] is True
        assert container["dockerSecurityOptions"] == ["no-new-privileges"]
        assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert job["resourceRequirements"] == [{"type": "GPU", "value": "1"}]
    assert job["dependsOn"] == [{"containerName": "preload-models", "condition": "SUCCESS"}]
    assert job["stopTimeout"] < 120, "a Spot machine is gone two minutes after its notice"
    assert "launchType" not in request
    provider = {"aws-g4dn-spot": "faceflow-spot", "aws-g4dn-on-demand": "faceflow-on-demand"}[name]
    assert [strategy["capacityProvider"] for strategy in request["capacityProviderStrategy"]] == [provider]
    assert request["overrides"]["containerOverrides"][0]["command"] == ["prefect", "flow-run", "execute"]
    state = next(volume for volume in definition["volumes"] if volume["name"] == "state")
    assert state["efsVolumeConfiguration"]["transitEncryption"] == "ENABLED"


def test_no_variable_of_a_run_changes_zone_image_or_namespace(pools: Pools) -> None:
    honest, forged = (kubernetes_job(pools.by_name["azure-t4-spot"], variables) for variables in ({}, FORGED))
    assert environment_of(pod_of(forged)["containers"][0])["FACEFLOW_POOL__ZONE"] == "public"
    for job in (honest, forged):
        job["metadata"].pop("labels")
        job["spec"]["template"]["metadata"].pop("labels")
        (container,) = pod_of(job)["containers"]
        container["env"] = [entry for entry in container["env"] if not entry["name"].startswith("PREFECT__")]
    assert forged == honest

    definition, request = ecs_task(pools.by_name["aws-g4dn-spot"], FORGED)
    (container,) = definition["containerDefinitions"]
    overrides = request["overrides"]["containerOverrides"][0]
    assert environment_of(container)["FACEFLOW_POOL__ZONE"] == "public"
    assert not [name for name in environment_of(overrides) if name.startswith("FACEFLOW_")]
    assert container["image"] == "faceflow:0.1.0-gpu"
    assert overrides["command"] == ["prefect", "flow-run", "execute"]


@pytest.mark.parametrize(
    ("behaviour", "command"),
    [("reschedule", ["prefect", "flow-run", "execute"]), ("crash", ["python", "-m", "prefect.engine"])],
)
def test_what_becomes_of_a_run_at_sigterm_is_stated(pools: Pools, behaviour: str, command: list[str]) -> None:
    for name in ("private-k8s", "aws-g4dn-spot"):
        pool = changed(pools.by_name[name], on_termination=behaviour)
        if name in ECS:
            definition, request = ecs_task(pool)
            container = definition["containerDefinitions"][0]
            started = request["overrides"]["containerOverrides"][0]["command"]
        else:
            container = pod_of(kubernetes_job(pool))["containers"][0]
            started = container["args"]
        assert environment_of(container)["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == behaviour
        assert started == command


def test_one_job_does_not_take_the_cores_of_another(pools: Pools) -> None:
    for pool in pools.pools:
        assert pool_environment(pool)["OPENBLAS_NUM_THREADS"] == "1"
    own = changed(pools.by_name["private-k8s"], environment={"OPENBLAS_NUM_THREADS": "4"})
    assert pool_environment(own)["OPENBLAS_NUM_THREADS"] == "4"


def test_a_pool_without_networks_fetches_none(pools: Pools) -> None:
    assert "initContainers" not in pod_of(kubernetes_job(pools.by_name["private-k8s"]))
    preload = pod_of(kubernetes_job(changed(pools.by_name["private-k8s"], models=("gfpgan_1.4",))))["initContainers"][0]
    assert preload["args"] == ["faceflow", "models", "pull", "--for-pool", "private-k8s"]
    assert environment_of(preload)["FACEFLOW_MODELS__POOLS"] == '{"private-k8s": ["gfpgan_1.4"]}'
    assert {"name": "models", "mountPath": "/models"} in preload["volumeMounts"], "only this one may write there"


def test_jobs_that_share_a_gpu_get_their_share_of_its_memory(pools: Pools) -> None:
    pool = changed(
        pools.by_name["private-k8s"], jobs_per_gpu=2, gpu_memory_bytes=16 * 2**30, gpu_resource="nvidia.com/gpu.shared"
    )
    (container,) = pod_of(kubernetes_job(pool))["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu.shared"] == "1"
    assert environment_of(container)["FACEFLOW_ENGINE__MEMORY_LIMIT_BYTES"] == str(8 * 2**30)
    assert jobs_at_once(pool) == 2 * pool.gpus
    with pytest.raises(ValidationError, match="gpu_memory_bytes"):
        changed(pools.by_name["private-k8s"], jobs_per_gpu=2)


def test_an_image_comes_from_the_registry_near_the_pool(pools: Pools) -> None:
    pool = changed(
        pools.by_name["private-k8s"], registry="harbor.example/faceflow", image="faceflow@sha256:" + "0" * 64
    )
    image = pod_of(kubernetes_job(pool))["containers"][0]["image"]
    assert image == "harbor.example/faceflow/faceflow@sha256:" + "0" * 64


@pytest.mark.parametrize(
    "facts",
    [
        {"environment": {"FACEFLOW_POOL__ZONE": "isolated"}},
        {"environment": {"lower": "x"}},
        {"namespace": "Not_A_Name"},
        {"image": "x; rm"},
        {"privileged": True},
        {"grace_s": 0},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_what_a_list_of_pools_cannot_say(pools: Pools, facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        changed(pools.by_name["private-k8s"], **facts)


def test_templates_are_the_same_every_time(pools: Pools) -> None:
    for pool in pools.pools:
        again = Pool.model_validate_json(pool.model_dump_json())
        assert base_job_template(again) == base_job_template(pool)
