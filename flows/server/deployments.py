"""Deployments of the flows on the pools, as items to compare."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from faceflow.flows.server.deployed import Deployed
from faceflow.flows.server.difference import Facts, Item


async def wanted_deployment(deployed: Deployed, pool: str) -> RunnerDeployment:
    """The deployment of a flow on a pool; both have the pool's name."""
    return await deployed.flow.ato_deployment(
        name=pool,
        work_pool_name=pool,
        work_queue_name=str(deployed.queue),
        description=deployed.description,
        interval=deployed.every_s,
        concurrency_limit=deployed.limit,
        tags=[],  # a run's tags become its tasks' tags; see tasks/stage_task.py
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def deployment_item(client: PrefectClient, deployed: Deployed, pool: str) -> Item:
    """The deployment beside what the server knows of it."""
    wanted = await wanted_deployment(deployed, pool)
    name = f"{deployed.flow.name}/{pool}"
    found = await find_deployment(client, name)

    async def put() -> None:
        if found is not None:
            for schedule in found.schedules:  # applying adds schedules, and takes none away
                with suppress(ObjectNotFound):  # somebody else who registers has been quicker
                    await client.delete_deployment_schedule(found.id, schedule.id)
        await wanted.aapply()

    return Item("deployment", name, _wanted_facts(wanted, deployed), None if found is None else _facts(found), put)


async def find_deployment(client: PrefectClient, name: str) -> DeploymentResponse | None:
    """The deployment `flow/name`, where the server has it."""
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


async def deployment_id(client: PrefectClient, name: str) -> UUID | None:
    """Its id, where the server has it."""
    found = await find_deployment(client, name)
    return None if found is None else found.id


def _wanted_facts(wanted: RunnerDeployment, deployed: Deployed) -> Facts:
    limit = deployed.limit
    return {
        "description": wanted.description,
        "entrypoint": wanted.entrypoint,
        "work_pool": wanted.work_pool_name,
        "work_queue": wanted.work_queue_name,
        "tags": [],
        "job_variables": wanted.job_variables,
        "every_s": [] if deployed.every_s is None else [deployed.every_s],
        "concurrency_limit": None if limit is None else [limit.limit, str(limit.collision_strategy.value)],
        "parameters": _digest(wanted._parameter_openapi_schema.model_dump(exclude_unset=True)),
    }


def _facts(found: DeploymentResponse) -> Facts:
    limit, options = found.global_concurrency_limit, found.concurrency_options
    strategy = None if options is None else str(options.collision_strategy.value)
    return {
        "description": found.description,
        "entrypoint": found.entrypoint,
        "work_pool": found.work_pool_name,
        "work_queue": found.work_queue_name,
        "tags": sorted(found.tags),
        "job_variables": found.job_variables,
        "every_s": [
            schedule.schedule.interval.total_seconds() if isinstance(schedule.schedule, IntervalSchedule) else "other"
            for schedule in found.schedules
        ],
        "concurrency_limit": None if limit is None else [limit.limit, strategy],
        "parameters": _digest(found.parameter_openapi_schema or {}),
    }


def _digest(schema: dict[str, Any]) -> str:
    """A form is long; whether it is the same one is enough."""
    return hashlib.sha256(json.dumps(schema, sort_keys=True, default=str).encode()).hexdigest()[:12]
