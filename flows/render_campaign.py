"""Thousands of short jobs from one list, placed in micro-batches by the routing rules, until all are done or failed.

Only so many batches are on their way at once that later ones are decided with the signals of their own moment. Started
again, also after a crash and on another machine, a campaign does what is missing and nothing twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from faceflow.flows.campaigns.batch_placement import place_batch
from faceflow.flows.campaigns.batches import follow_batches
from faceflow.flows.campaigns.report_artifacts import Bar, show_report
from faceflow.flows.dispatcher.control import Control, controlling, now
from faceflow.flows.run.entry import entered
from faceflow.infrastructure.books.campaigns.books import (
    hold_campaign,
    remember_campaign,
    require_campaign,
    retry_failed,
    take_wheel,
    waiting_routes,
)
from faceflow.infrastructure.books.campaigns.figures import counts_of
from faceflow.infrastructure.books.campaigns.report import CampaignReport, report_of
from faceflow.infrastructure.books.campaigns.sources import CampaignSource, read_source
from faceflow.log import events

WHEEL_S = 30.0
"""A driver that was not heard of for this long is taken for dead."""


@flow(
    name="render-campaign",
    flow_run_name="campaign {campaign}",
    description="Runs a campaign's jobs in micro-batches, wherever the routing rules send them.",
    persist_result=False,
)
async def render_campaign(
    campaign: Annotated[str, Field(title="Campaign", min_length=1, max_length=100, description="Its name.")],
    manifest: Annotated[
        str,
        Field(
            title="Manifest",
            description="CSV or JSON Lines file; leave it empty to use portraits or an existing campaign.",
        ),
    ] = "",
    portraits: Annotated[
        str,
        Field(title="Portraits", description="Instead of a manifest: a folder, or a prefix in a store (s3://a/b), ..."),
    ] = "",
    target: Annotated[
        str, Field(title="Target", description="... whose portraits are each put into this video, ...")
    ] = "",
    output: Annotated[
        str, Field(title="Output", description="... and the results written to this folder or prefix.")
    ] = "",
    defaults: Annotated[
        dict[str, Any], Field(title="Defaults", description="Values that all rows share, written like a row.")
    ] = {},  # noqa: B006 - Prefect copies it
    again: Annotated[bool, Field(title="Retry failed jobs", description="Retry the jobs that failed.")] = False,
) -> CampaignReport:
    """Drives a campaign to its end, or as far as it comes.

    Raises:
        JobError: `job.usage`, `job.manifest_unreadable`, `job.manifest_invalid`: nothing was started;
            `job.unknown_campaign`.
        TrustError: `trust.zone`, where such media may not lie in the store of the portraits.
        StoreError, StoreSetupError: the store cannot be listed.
    """
    async with entered() as settings:
        source = CampaignSource(manifest=manifest, portraits=portraits, target=target, output=output, defaults=defaults)
        rows = await asyncio.to_thread(read_source, source, settings) if source.given else None
        async with controlling(settings) as control:
            if rows is not None:
                remember = partial(remember_campaign, control.database, campaign, source.location, rows, now())
                new = await asyncio.to_thread(remember)
                events().info("campaign.remembered", campaign=campaign, jobs=len(rows), new=new)
            report = await drive(control, campaign, again=again)
        await show_report(report)
    return report


async def drive(control: Control, campaign: str, *, again: bool = False) -> CampaignReport:
    """Places, follows and books until nothing is left, or nothing could be placed for `campaigns.patience_s`.

    While another run drives the campaign, this one only watches; it takes over when the other one dies.

    Args:
        control: the dispatcher's means.
        campaign: one that is remembered.
        again: whether failed jobs are tried once more.
    """
    limits, database = control.settings.campaigns, control.database
    await asyncio.to_thread(require_campaign, database, campaign)
    bar, moved_at = Bar(campaign), monotonic()
    async with _wheel(control, campaign) as take:
        while True:
            moving, held = True, ""
            if await take():
                if again:
                    await asyncio.to_thread(retry_failed, database, campaign)
                    again = False
                on_their_way = await follow_batches(control, campaign)
                placed, held = await _place(control, campaign, limits.batches_in_flight - on_their_way)
                await asyncio.to_thread(hold_campaign, database, campaign, held)
                moving = bool(placed or on_their_way)
            counts = await asyncio.to_thread(counts_of, database, campaign)
            await bar.show(counts, held)
            moved_at = monotonic() if moving else moved_at
            if counts.ended == counts.jobs:
                break
            if monotonic() - moved_at > limits.patience_s:
                events().warning("campaign.held", campaign=campaign, reason=held)
                break
            await asyncio.sleep(limits.poll_s)
        return await asyncio.to_thread(report_of, database, campaign)


async def _place(control: Control, campaign: str, room: int) -> tuple[int, str]:
    """Places batches while there is room; how many, and why the others wait."""
    placed, held = 0, ""
    if room <= 0:
        return placed, held
    for route in await asyncio.to_thread(waiting_routes, control.database, campaign):
        while placed < room:
            came = await place_batch(control, campaign, route)
            held = held or came.held
            if not came.jobs:
                break
            placed += 1
    return placed, held


@asynccontextmanager
async def _wheel(control: Control, campaign: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Gives what takes the wheel, or says that another run has it; it is kept while the block lasts, then let go."""
    driver = secrets.token_hex(8)

    async def hold(seconds: float) -> bool:
        until = now() + timedelta(seconds=seconds)
        return await asyncio.to_thread(take_wheel, control.database, campaign, driver, now(), until)

    async def keep() -> None:
        while True:
            await asyncio.sleep(WHEEL_S / 4)
            if mine:
                await hold(WHEEL_S)

    mine = False

    async def take() -> bool:
        nonlocal mine
        mine = await hold(WHEEL_S)
        return mine

    keeping = asyncio.create_task(keep())
    try:
        yield take
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        if mine:
            await hold(0)
