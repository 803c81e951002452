"""From an entry of the list of pools to what Prefect keeps as a work pool: its type, its limit, its template."""

from __future__ import annotations

from typing import Any

from faceflow.infrastructure.machine.pools.ecs_template import ecs_template
from faceflow.infrastructure.machine.pools.environment import ENGINE_COMMAND, pool_environment
from faceflow.infrastructure.machine.pools.kubernetes_template import kubernetes_template
from faceflow.infrastructure.machine.server.environment import HEARTBEAT_S
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.runs_on import EcsRunsOn, KubernetesRunsOn, ProcessRunsOn, RunsOn


def work_pool_type(pool: Pool) -> str:
    """Type of the pool's workers: `process`, `kubernetes` or `ecs`. Raises PolicyError, see `what_runs`."""
    return what_runs(pool).kind


def jobs_at_once(pool: Pool) -> int:
    """Most jobs that the pool runs at a time: one on a GPU, or as many as share it. Raises PolicyError."""
    return pool.gpus * what_runs(pool).jobs_per_gpu


def base_job_template(pool: Pool) -> dict[str, Any]:
    """How a worker starts a job on the pool.

    Raises:
        PolicyError: `policy.pool_not_runnable`, where the list does not say what the pool runs on.
    """
    runs_on = what_runs(pool)
    match runs_on:
        case KubernetesRunsOn():
            return kubernetes_template(pool, runs_on)
        case EcsRunsOn():
            return ecs_template(pool, runs_on)
        case ProcessRunsOn():
            return process_template(pool_environment(pool))


def process_template(environment: dict[str, str]) -> dict[str, Any]:
    """The base job template of processes with these variables, with the Python that the worker's PATH finds first.

    Unlike in a container, a user who may start runs on such a pool decides what it runs.
    """
    return {
        "variables": {
            "type": "object",
            "properties": {
                "working_dir": {
                    "title": "Working directory",
                    "description": "The folder that relative paths start from.",
                    "type": "string",
                },
                "env": {"title": "Environment", "type": "object", "additionalProperties": {"type": "string"}},
                # With a command of its own the worker starts a job at once, where it would look for a project.
                "command": {"title": "Command", "type": "string", "default": ENGINE_COMMAND},
            },
        },
        "job_configuration": {
            "command": "{{ command }}",
            # Silence can only be measured if it is known how often a run speaks.
            "env": {**environment, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)},
            "working_dir": "{{ working_dir }}",
            "stream_output": True,
        },
    }


def what_runs(pool: Pool) -> RunsOn:
    """What the pool runs on.

    Raises:
        PolicyError: `policy.pool_not_runnable`.
    """
    if pool.runs_on is None:
        raise PolicyError(
            "policy.pool_not_runnable",
            f"The list of pools does not say what {pool.name!r} runs on.",
            "Give the pool a `runs_on` with kind: process, kubernetes or ecs; docs/deploying.md shows each.",
            pool=pool.name,
        )
    return pool.runs_on
