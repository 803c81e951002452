"""Work pools and their queues, as items to compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from faceflow.flows.server.deployed import DISPATCHER_DESCRIPTION, DISPATCHES_AT_ONCE, QUEUES
from faceflow.flows.server.difference import Item
from faceflow.infrastructure.machine.pools.templates import (
    base_job_template,
    jobs_at_once,
    process_template,
    work_pool_type,
)
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.settings import Settings
from faceflow.job import Priority


@dataclass(frozen=True, slots=True)
class WantedPool:
    """A work pool as the server should know it."""

    name: str
    type: str
    description: str
    concurrency_limit: int
    base_job_template: dict[str, Any]


def wanted_pool(pool: Pool) -> WantedPool:
    """The work pool of an entry of the list. Raises PolicyError where the entry does not say what it runs on."""
    machines = f" on {pool.instance_type}" if pool.instance_type else ""
    capacity = {"owned": "Our own machines", "on_demand": "Rented machines", "spot": "Rented machines, spot"}
    description = f"{capacity[pool.capacity]}, {pool.zone} zone: {pool.gpus} x {pool.gpu}{machines}."
    return WantedPool(pool.name, work_pool_type(pool), description, jobs_at_once(pool), base_job_template(pool))


def dispatcher_pool(settings: Settings) -> WantedPool:
    """The work pool of the dispatcher: processes beside its worker, whose environment says who they are."""
    template = process_template({})
    return WantedPool(settings.routing.dispatcher_pool, "process", DISPATCHER_DESCRIPTION, DISPATCHES_AT_ONCE, template)


async def pool_item(client: PrefectClient, wanted: WantedPool) -> Item:
    """The pool beside what the server knows of it.

    Raises:
        PolicyError: `policy.pool_type`, where the server has a pool of that name and another type.
    """
    facts: dict[str, Any] = {
        "type": wanted.type,
        "description": wanted.description,
        "concurrency_limit": wanted.concurrency_limit,
        "base_job_template": wanted.base_job_template,
    }
    try:
        found = await client.read_work_pool(wanted.name)
    except ObjectNotFound:
        found = None
    if found is not None and found.type != wanted.type:
        raise PolicyError(
            "policy.pool_type",
            f"The server has a pool {wanted.name!r} of type {found.type}, but the list asks for type {wanted.type}.",
            "Give the pool another name in the list, with the old one under `formerly`; a pool cannot change its type.",
            pool=wanted.name,
        )

    async def put() -> None:
        # Whether it is paused is the operator's business and stays as it is.
        if found is None:
            await client.create_work_pool(WorkPoolCreate(name=wanted.name, **facts))
        else:
            changes = {name: value for name, value in facts.items() if name != "type"}
            await client.update_work_pool(wanted.name, WorkPoolUpdate(**changes))

    present = None if found is None else {name: getattr(found, name) for name in facts}
    return Item("work pool", wanted.name, facts, present, put)


async def queue_items(client: PrefectClient, pool: str) -> list[Item]:
    """A queue for every priority of jobs, in the order in which they have to be made."""
    try:
        found = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool)}
    except ObjectNotFound:
        found = {}
    return [_queue_item(client, pool, priority, found.get(str(priority))) for priority in QUEUES]


def _queue_item(client: PrefectClient, pool: str, priority: Priority, found: Any) -> Item:
    number, name = QUEUES[priority], str(priority)
    facts, address = {"priority": number}, {"work_pool_name": pool, "name": name}

    async def put() -> None:
        if found is None:
            description = f"Jobs of {name} priority."
            await client.create_work_queue(name=name, description=description, priority=number, work_pool_name=pool)
        else:
            # By the pool's own address: it moves the other queues, of which no two have the same priority.
            await client.request("PATCH", "/work_pools/{work_pool_name}/queues/{name}", path_params=address, json=facts)

    present = None if found is None else {"priority": found.priority}
    return Item("work queue", f"{pool}/{name}", facts, present, put)
