"""Which flows are deployed where: the one table behind `faceflow up`, `faceflow register` and prefect.yaml.

Every pool that does work gets the flows of `work_flows`; the dispatcher has a pool of its own, so that deciding never
waits behind swapping, and on it run the flows of `dispatcher_flows`, some of them by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.events.schemas.automations import AutomationCore

from faceflow.flows.dispatch import dispatch
from faceflow.flows.preload_models import preload_models
from faceflow.flows.reconcile import reconcile, refresh_signals, retry_held
from faceflow.flows.render_batch import render_batch
from faceflow.flows.render_campaign import render_campaign
from faceflow.flows.replicate_images import replicate_images
from faceflow.flows.run.automations import image_is_replicated, lost_runs, runs_that_do_not_start, silent_runs_are_lost
from faceflow.flows.swap_shard import swap_shard
from faceflow.flows.swap_video import swap_video
from faceflow.infrastructure.settings import Settings
from faceflow.job import Priority

QUEUES = {Priority.URGENT: 1, Priority.HIGH: 2, Priority.NORMAL: 3, Priority.LOW: 4}
"""Work queues of every pool by the priority of jobs; Prefect takes from queue 1 first."""
DISPATCHER_DESCRIPTION = "Decides where jobs run, and looks after them. It does not open media."
DISPATCHES_AT_ONCE = 4

# Of a flow that looks after all jobs, a second run at the same time would find nothing to do.
_ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
_ONE_AFTER_ANOTHER = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
# A driver lives as long as its campaign: not all places of the dispatcher may be taken by them.
_CAMPAIGNS = ConcurrencyLimitConfig(limit=2, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A flow as it is deployed on a pool.

    Attributes:
        flow: the flow.
        description: what the UI says of the deployment.
        every_s: how often it runs by itself, seconds; None: it does not.
        queue: work queue of runs that name none.
        limit: how many of its runs may be in work at a time.
    """

    flow: Flow[Any, Any]
    description: str
    every_s: float | None = None
    queue: Priority = Priority.NORMAL
    limit: ConcurrencyLimitConfig | None = None


def work_flows(paths: str = "") -> tuple[Deployed, ...]:
    """Flows of every pool that does work; `paths` says in a sentence whose paths jobs name."""
    return (
        Deployed(swap_video, f"Swaps a face in one video or picture. {paths}".strip()),
        Deployed(swap_shard, "Swaps some of a job's segments; started by the run that coordinates the job."),
        Deployed(render_batch, "Runs short jobs of a campaign; started by the run that drives the campaign."),
        Deployed(
            preload_models,
            "Downloads models into the models folder of the worker's machine.",
            queue=Priority.HIGH,
            limit=_ONE_AFTER_ANOTHER,
        ),
    )


def dispatcher_flows(settings: Settings) -> tuple[Deployed, ...]:
    """Flows of the dispatcher's pool."""
    routing, prices = settings.routing, settings.prices
    # Prices are asked for in the background only where somebody is asked for prices.
    prices_every_s = max(prices.ttl_s, 60.0) if prices.ec2 or prices.azure else None
    return (
        Deployed(dispatch, "Decides where a job runs, and starts it there."),
        Deployed(
            render_campaign,
            "Runs a campaign's jobs in micro-batches, wherever the routing rules send them.",
            limit=_CAMPAIGNS,
        ),
        Deployed(
            reconcile,
            "Records how runs ended, settles budgets, and restarts lost jobs.",
            every_s=routing.reconcile_s,
            queue=Priority.HIGH,
            limit=_ONE,
        ),
        Deployed(retry_held, "Re-evaluates held jobs.", every_s=routing.retry_held_s, limit=_ONE),
        Deployed(refresh_signals, "Queries the sources of signals and prices.", every_s=prices_every_s, limit=_ONE),
        Deployed(
            replicate_images,
            "Copies the image to the registry near each pool.",
            every_s=settings.images.every_s if settings.images.source else None,
            limit=_ONE_AFTER_ANOTHER,
        ),
    )


def dispatcher_automations(
    settings: Settings, ids: Mapping[str, UUID], starting: timedelta
) -> tuple[AutomationCore, ...]:
    """What the server itself does for the dispatcher.

    Args:
        settings: its pool, and which silence is too long.
        ids: of the dispatcher's deployments, by the names of their flows.
        starting: how long a run may take to begin after a worker took it (`faceflow.flows.run.starting.start_limit`).
    """
    dispatcher, work = settings.routing.dispatcher_pool, [swap_video.name, swap_shard.name, render_batch.name]
    return (
        image_is_replicated(dispatcher, ids[replicate_images.name]),
        lost_runs(dispatcher, [swap_video.name, dispatch.name], ids[reconcile.name]),
        silent_runs_are_lost(dispatcher, work, timedelta(seconds=settings.routing.silence_s), ids[reconcile.name]),
        runs_that_do_not_start(dispatcher, work, starting),
    )
