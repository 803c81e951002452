"""The base job template of a pool on Kubernetes: what a job may, where its pod lands, what is mounted.

Everything that protects the cluster and the media is written out here and is no variable of a run: a user who may start
a run cannot give it another image, another user, another zone or another namespace.
"""

from __future__ import annotations

from typing import Any

from faceflow.infrastructure.machine.pools.environment import (
    COMPILED,
    MODELS,
    SCRATCH,
    STATE,
    TEMPORARY,
    USER,
    container_environment,
    job_command,
    preload_command,
)
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.runs_on import KubernetesRunsOn, Toleration

ZONE_LABEL = "faceflow.io/zone"
POOL_LABEL = "faceflow.io/pool"
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # Without it a start walks over every file of the shared volumes.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def kubernetes_template(pool: Pool, runs_on: KubernetesRunsOn) -> dict[str, Any]:
    """The base job template of `pool`, as the Kubernetes worker reads it."""
    return {
        "variables": {
            "type": "object",
            "properties": {
                "name": {"title": "Name", "description": "Name of the job in the cluster.", "type": "string"}
            },
        },
        "job_configuration": {
            "name": "{{ name }}",
            # A list: the variables of a run are merged into an object, and could then change the zone.
            "env": [{"name": name, "value": value} for name, value in container_environment(pool).items()],
            "labels": {},
            "namespace": runs_on.namespace,
            "job_manifest": _manifest(pool, runs_on),
            # A rented machine has to start first, and pull the image.
            "pod_watch_timeout_seconds": max(300, int(4 * pool.start_s)),
            "stream_output": False,
        },
    }


def _manifest(pool: Pool, runs_on: KubernetesRunsOn) -> dict[str, Any]:
    labels = {POOL_LABEL: pool.name, ZONE_LABEL: str(pool.zone)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "{{ name }}-", "namespace": runs_on.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,  # the dispatcher decides about another attempt, not the cluster
            "ttlSecondsAfterFinished": runs_on.ttl_s,
            "template": {"metadata": {"labels": labels}, "spec": _pod(pool, runs_on)},
        },
    }


def _pod(pool: Pool, runs_on: KubernetesRunsOn) -> dict[str, Any]:
    container = {
        "image": runs_on.image_reference,
        "imagePullPolicy": runs_on.image_pull_policy,
        "securityContext": CONTAINER_SECURITY,
    }
    pod: dict[str, Any] = {
        "parallelism": 1,
        "completions": 1,
        "restartPolicy": "Never",
        "serviceAccountName": runs_on.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": runs_on.grace_s,
        "securityContext": POD_SECURITY,
        "containers": [
            {
                **container,
                "name": "prefect-job",
                # The image's entry point is a small init that runs them.
                "args": job_command(runs_on.on_termination).split(),
                "resources": _resources(runs_on),
                "volumeMounts": [
                    {"name": "models", "mountPath": MODELS, "readOnly": True},
                    {"name": "models", "mountPath": COMPILED, "subPath": ".compiled"},
                    {"name": "state", "mountPath": STATE},
                    {"name": "scratch", "mountPath": SCRATCH},
                    {"name": "temporary", "mountPath": TEMPORARY},
                ],
                **({"envFrom": [{"secretRef": {"name": name}} for name in runs_on.secrets]} if runs_on.secrets else {}),
            }
        ],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": runs_on.models_claim}},
            {"name": "state", "persistentVolumeClaim": {"claimName": runs_on.state_claim}},
            {"name": "scratch", "emptyDir": {"sizeLimit": runs_on.scratch}},
            {"name": "temporary", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    if pool.models:
        pod["initContainers"] = [_preload(pool, runs_on, container)]
    optional: dict[str, Any] = {
        "nodeSelector": runs_on.node_selector,
        "tolerations": [toleration.model_dump(exclude_defaults=True) for toleration in _tolerations(runs_on)],
        "priorityClassName": runs_on.priority_class,
        "runtimeClassName": runs_on.runtime_class,
        "imagePullSecrets": [{"name": name} for name in runs_on.image_pull_secrets],
    }
    return pod | {key: value for key, value in optional.items() if value}


def _resources(runs_on: KubernetesRunsOn) -> dict[str, Any]:
    """Requests equal limits, so that the pod is the last to be evicted. One job, one device (or one share of it)."""
    amounts = {"cpu": runs_on.cpu, "memory": runs_on.memory}
    if runs_on.provider != "cpu":
        amounts[runs_on.gpu_resource] = "1"
    return {"requests": amounts, "limits": amounts}


def _tolerations(runs_on: KubernetesRunsOn) -> tuple[Toleration, ...]:
    """Nodes with GPUs are usually tainted with the name of the resource."""
    of_gpus = Toleration(key=runs_on.gpu_resource, operator="Exists")
    return runs_on.tolerations if runs_on.provider == "cpu" else (*runs_on.tolerations, of_gpus)


def _preload(pool: Pool, runs_on: KubernetesRunsOn, container: dict[str, Any]) -> dict[str, Any]:
    amounts = {"cpu": "1", "memory": "2Gi"}
    return {
        **container,
        "name": "preload-models",
        "args": preload_command(pool),
        "env": [{"name": name, "value": value} for name, value in container_environment(pool).items()],
        **({"envFrom": [{"secretRef": {"name": name}} for name in runs_on.secrets]} if runs_on.secrets else {}),
        "resources": {"requests": amounts, "limits": amounts},
        "volumeMounts": [
            {"name": "models", "mountPath": MODELS},
            {"name": "temporary", "mountPath": TEMPORARY},
        ],
    }
