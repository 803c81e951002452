"""`register`: what is wanted of a server, compared with what it has, and applied; a second time changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from faceflow.flows.run.automations import keep_automation
from faceflow.flows.run.starting import start_limit
from faceflow.flows.server.deployed import Deployed, dispatcher_automations, dispatcher_flows, work_flows
from faceflow.flows.server.deployments import deployment_id, deployment_item
from faceflow.flows.server.difference import Action, Change, Item, difference
from faceflow.flows.server.renaming import retired
from faceflow.flows.server.work_pools import dispatcher_pool, pool_item, queue_items, wanted_pool
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

_NOT_YET = UUID(int=0)


@dataclass
class Report:
    """What was done, or with `dry_run` what would be."""

    dry_run: bool
    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0

    @property
    def pending(self) -> list[Change]:
        """Differences about which nothing can be done yet."""
        return [change for change in self.changes if change.action is Action.WAIT]


async def register(pools: Pools, settings: Settings, *, dry_run: bool = False) -> Report:
    """Makes block types, pools, queues, deployments and automations known to the server that Prefect's settings name.

    Args:
        pools: the list; every entry has to say what it runs on.
        settings: how often what runs by itself runs, and the dispatcher's pool.
        dry_run: only says what differs.

    Raises:
        PolicyError: `policy.pool_not_runnable`, `policy.pool_type`; nothing has been changed then.
    """
    report = Report(dry_run)
    wanted = [wanted_pool(pool) for pool in pools.pools] + [dispatcher_pool(settings)]
    deployed = [(pool.name, work_flows()) for pool in pools.pools]
    deployed.append((settings.routing.dispatcher_pool, dispatcher_flows(settings)))
    async with get_client() as client:
        for item in [await pool_item(client, pool) for pool in wanted]:  # all are looked at before one is changed
            await _bring(item, report)
        await _bring(await _block_type(client), report)
        for pool in wanted:
            for item in await queue_items(client, pool.name):
                await _bring(item, report)
        async for item in _deployments(client, deployed):
            await _bring(item, report)
        for automation in await _automations(client, pools, settings):
            await _bring(await _automation_item(client, automation), report)
        for listed in pools.pools:
            for change, remove in await retired(client, listed):
                report.changes.append(change)
                if not dry_run:
                    await remove()
    return report


async def _bring(item: Item, report: Report) -> None:
    change = difference(item)
    if change is None:
        report.unchanged += 1
        return
    report.changes.append(change)
    if not report.dry_run:
        await item.put()


async def _deployments(
    client: PrefectClient, deployed: Sequence[tuple[str, Sequence[Deployed]]]
) -> AsyncIterator[Item]:
    for pool, flows in deployed:
        for one in flows:
            yield await deployment_item(client, one, pool)


async def _automations(client: PrefectClient, pools: Pools, settings: Settings) -> tuple[AutomationCore, ...]:
    names = [one.flow.name for one in dispatcher_flows(settings)]
    dispatcher = settings.routing.dispatcher_pool
    # In a dry run the deployments may not be there.
    ids = {name: await deployment_id(client, f"{name}/{dispatcher}") or _NOT_YET for name in names}
    return dispatcher_automations(settings, ids, start_limit(settings, pools))


async def _automation_item(client: PrefectClient, wanted: AutomationCore) -> Item:
    found = await client.read_automations_by_name(wanted.name)

    async def put() -> None:
        await keep_automation(client, wanted)

    present = _automation_facts(found[0]) if len(found) == 1 else {} if found else None
    return Item("automation", wanted.name, _automation_facts(wanted), present, put)


def _automation_facts(automation: AutomationCore) -> dict[str, Any]:
    # Whether it is switched on is the operator's business.
    facts = automation.model_dump(mode="json", include={"description", "trigger", "actions"})
    return facts | {"trigger": _comparable(facts["trigger"])}


def _comparable(value: Any) -> Any:
    """A trigger gets a new id every time, and its sets come in any order."""
    if isinstance(value, dict):
        return {name: _comparable(inner) for name, inner in value.items() if name != "id"}
    return sorted(map(_comparable, value), key=str) if isinstance(value, list) else value


async def _block_type(client: PrefectClient) -> Item:
    facts = {"schema": RoutingPolicy._calculate_schema_checksum()}
    present: dict[str, Any] | None
    try:
        await client.read_block_type_by_slug(RoutingPolicy.get_block_type_slug())
    except ObjectNotFound:
        present = None
    else:
        try:
            present = {"schema": (await client.read_block_schema_by_checksum(facts["schema"])).checksum}
        except ObjectNotFound:
            present = {"schema": None}

    async def put() -> None:
        await RoutingPolicy.aregister_type_and_schema(client=client)

    return Item("block type", RoutingPolicy.get_block_type_slug(), facts, present, put)
