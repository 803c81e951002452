"""The base job template of a pool on Amazon ECS: a task with one GPU on the machines of a capacity provider.

As on Kubernetes, nothing that protects the media is a variable of a run. The task definition holds the job's container
and, where the pool needs networks, one that fetches them first and has to succeed.
"""

from __future__ import annotations

from typing import Any

from faceflow.infrastructure.machine.pools.environment import (
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
from faceflow.infrastructure.routing.runs_on import EcsRunsOn

JOB_CONTAINER = "faceflow"
PRELOAD_CONTAINER = "preload-models"
HOST_FOLDER = "/var/lib/faceflow"
"""Folder of the machines, on their own fast disk; deployments/aws/faceflow.yaml makes it."""
LOG_GROUP = "faceflow"


def ecs_template(pool: Pool, runs_on: EcsRunsOn) -> dict[str, Any]:
    """The base job template of `pool`, as the ECS worker reads it."""
    family = f"faceflow-{pool.name}"
    return {
        "variables": {
            "type": "object",
            "properties": {"name": {"title": "Name", "description": "Name of the run.", "type": "string"}},
        },
        # No `env`: the worker would merge the variables of a run into it, and they could then change the zone.
        "job_configuration": {
            "name": "{{ name }}",
            "command": job_command(runs_on.on_termination),
            "labels": {},
            "cluster": runs_on.cluster,
            "container_name": JOB_CONTAINER,
            "match_latest_revision_in_family": True,
            "prefect_api_auth_string_secret_arn": runs_on.api_secret,
            "task_definition": _task_definition(pool, runs_on, family),
            "task_run_request": _request(runs_on, pool),
        },
    }


def _request(runs_on: EcsRunsOn, pool: Pool) -> dict[str, Any]:
    request: dict[str, Any] = {
        "cluster": runs_on.cluster,
        # With a strategy there must be no launch type.
        "capacityProviderStrategy": [{"capacityProvider": runs_on.capacity_provider, "weight": 1, "base": 0}],
        "overrides": {"containerOverrides": [{"name": JOB_CONTAINER}]},
        "propagateTags": "TASK_DEFINITION",
        "enableECSManagedTags": True,
        "tags": [{"key": "faceflow-pool", "value": pool.name}, {"key": "faceflow-zone", "value": str(pool.zone)}],
    }
    if runs_on.subnets:
        request["networkConfiguration"] = {
            "awsvpcConfiguration": {
                "subnets": list(runs_on.subnets),
                "securityGroups": list(runs_on.security_groups),
                "assignPublicIp": "DISABLED",
            }
        }
    return request


def _task_definition(pool: Pool, runs_on: EcsRunsOn, family: str) -> dict[str, Any]:
    job = {
        **_container(pool, runs_on, JOB_CONTAINER),
        "essential": True,
        "cpu": runs_on.cpu_units,
        "memory": runs_on.memory_mib,
        "stopTimeout": runs_on.grace_s,
        "mountPoints": [
            {"sourceVolume": "models", "containerPath": MODELS, "readOnly": False},
            {"sourceVolume": "state", "containerPath": STATE, "readOnly": False},
            {"sourceVolume": "scratch", "containerPath": SCRATCH, "readOnly": False},
            {"sourceVolume": "temporary", "containerPath": TEMPORARY, "readOnly": False},
        ],
    }
    if runs_on.provider != "cpu":
        job["resourceRequirements"] = [{"type": "GPU", "value": "1"}]
    containers = [job]
    if pool.models:
        job["dependsOn"] = [{"containerName": PRELOAD_CONTAINER, "condition": "SUCCESS"}]
        containers.append(_preload(pool, runs_on))
    return {
        "family": family,
        "requiresCompatibilities": ["EC2"],
        "networkMode": "awsvpc" if runs_on.subnets else "host",
        "taskRoleArn": runs_on.task_role,
        "executionRoleArn": runs_on.execution_role,
        "containerDefinitions": containers,
        "volumes": [
            {"name": "models", "host": {"sourcePath": f"{HOST_FOLDER}/models"}},
            _state_volume(runs_on),
            {"name": "scratch", "host": {"sourcePath": f"{HOST_FOLDER}/scratch"}},
            {"name": "temporary", "host": {"sourcePath": f"{HOST_FOLDER}/temporary"}},
        ],
    }


def _container(pool: Pool, runs_on: EcsRunsOn, name: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": runs_on.image_reference,
        "user": f"{USER}:{USER}",
        "privileged": False,
        "readonlyRootFilesystem": True,
        "dockerSecurityOptions": ["no-new-privileges"],
        # A small init is process 1, so that SIGTERM reaches the job and nothing is left behind as a zombie.
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
        "environment": [{"name": key, "value": value} for key, value in container_environment(pool).items()],
    }
    if runs_on.log_region:
        container["logConfiguration"] = {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": LOG_GROUP,
                "awslogs-region": runs_on.log_region,
                "awslogs-stream-prefix": pool.name,
                "mode": "non-blocking",
            },
        }
    return container


def _preload(pool: Pool, runs_on: EcsRunsOn) -> dict[str, Any]:
    return {
        **_container(pool, runs_on, PRELOAD_CONTAINER),
        "essential": False,
        "cpu": 256,
        "memory": 1024,
        "command": preload_command(pool),
        "mountPoints": [
            {"sourceVolume": "models", "containerPath": MODELS, "readOnly": False},
            {"sourceVolume": "temporary", "containerPath": TEMPORARY, "readOnly": False},
        ],
    }


def _state_volume(runs_on: EcsRunsOn) -> dict[str, Any]:
    if runs_on.file_system is None:
        return {"name": "state", "host": {"sourcePath": f"{HOST_FOLDER}/state"}}
    authorization = {"iam": "ENABLED"}
    if runs_on.access_point is not None:
        authorization["accessPointId"] = runs_on.access_point
    return {
        "name": "state",
        "efsVolumeConfiguration": {
            "fileSystemId": runs_on.file_system,
            "rootDirectory": "/",
            "transitEncryption": "ENABLED",
            "authorizationConfig": authorization,
        },
    }
