"""Makes process pools of this machine and the deployments on them known to the server. Again brings them up to date.

Every pool that does work gets `swap-video`, `swap-shard` and `preload-models`; the dispatcher has a pool of its own, so
that deciding never waits behind swapping; what runs by itself (schedules, automations) is registered with it.

Also tells the server of runs whose worker is no more: Prefect would show them as running for ever, and they would
fill the pool's limit, so that no other run starts.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from faceflow.settings import Settings
from flows.automations import image_is_replicated, keep_automation, lost_runs, silent_runs_are_lost
from flows.dispatch import dispatch
from flows.preload_models import preload_models
from flows.reconcile import reconcile, refresh_signals, retry_held
from flows.replicate_images import replicate_images
from flows.swap_shard import swap_shard
from flows.swap_video import swap_video
from infrastructure.blocks.routing_policy import RoutingPolicy
from infrastructure.server.environment import HEARTBEAT_S

POOL_TYPE = "process"
POOL_DESCRIPTION = "Jobs as processes on this machine."
DISPATCHER_DESCRIPTION = "Decides where jobs run, and looks after them. No media is opened here."
DISPATCHES_AT_ONCE = 4
WORKER_LABEL = "prefect.worker.name"
_TAKEN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


async def register_work_pool(pool: str, concurrency: int) -> str:
    """Creates the process pool `pool` and on it the deployments of every flow that does work.

    Jobs run with this Python, and relative paths count from this process's working directory.

    Args:
        pool: name of the work pool and of the deployments.
        concurrency: jobs that run at once on it.

    Returns:
        The full name of the deployment for swaps.
    """
    await _create_pool(pool, concurrency, POOL_DESCRIPTION)
    await deploy_on(
        pool,
        {
            swap_video: "Swaps a face in one video or picture. Paths are those of the machine the worker runs on; "
            f"relative ones count from `{Path.cwd()}`.",
            swap_shard: "Swaps some segments of a job; started by the run that coordinates it.",
            preload_models: "Fetches models into the models folder of the machine the worker runs on.",
        },
    )
    return f"{swap_video.name}/{pool}"


async def register_dispatcher(settings: Settings) -> str:
    """Creates the dispatcher's pool, its deployments with their schedules, the automations, and the form for rules.

    Returns:
        The full name of the deployment to which jobs are given.
    """
    routing = settings.routing
    pool = routing.dispatcher_pool
    await _create_pool(pool, DISPATCHES_AT_ONCE, DISPATCHER_DESCRIPTION)
    await deploy_on(pool, {dispatch: "Decides where a job runs, and starts it there."})
    scheduled: dict[Flow[Any, Any], tuple[float, str]] = {
        reconcile: (routing.reconcile_s, "Books and settles what ended, and starts lost jobs again."),
        retry_held: (routing.retry_held_s, "Decides held jobs again."),
        refresh_signals: (max(settings.prices.ttl_s, 60.0), "Asks the sources of signals and prices."),
    }
    ids = {}
    for flow, (seconds, description) in scheduled.items():
        # Prices are asked for in the background only where somebody is asked for prices.
        wanted = flow is not refresh_signals or settings.prices.ec2 or settings.prices.azure
        ids[flow.name] = await deploy_on(pool, {flow: description}, every_s=seconds if wanted else None)
    copies = {replicate_images: "Copies the image to the registry near each pool."}
    replicate = await deploy_on(pool, copies, every_s=settings.images.every_s if settings.images.source else None)
    async with get_client() as client:
        await keep_automation(client, image_is_replicated(pool, replicate))
        await keep_automation(client, lost_runs(pool, [swap_video.name, dispatch.name], ids[reconcile.name]))
        silence = timedelta(seconds=routing.silence_s)
        await keep_automation(client, silent_runs_are_lost(pool, [swap_video.name, swap_shard.name], silence))
        await RoutingPolicy.aregister_type_and_schema(client=client)
    return f"{dispatch.name}/{pool}"


async def deploy_on(pool: str, descriptions: Mapping[Flow[Any, Any], str], every_s: float | None = None) -> UUID:
    """Creates deployments called `pool` on the process pool `pool`; gives the id of the last.

    Args:
        pool: name of both.
        descriptions: flows with what the UI says of them.
        every_s: how often they run by themselves, seconds; None: they do not.
    """
    last = None
    for flow, description in descriptions.items():
        deployment = await flow.ato_deployment(
            name=pool,
            work_pool_name=pool,
            description=description,
            interval=every_s,
            tags=[],  # a run's tags become its tasks' tags; see tasks/stage_task.py
            entrypoint_type=EntrypointType.MODULE_PATH,
            # With a command of its own the worker starts the job at once, where it would look for a project to install.
            job_variables={
                "command": f"{shlex.quote(sys.executable)} -m prefect.engine",
                "working_dir": str(Path.cwd()),
                # Whoever counts silence has to know how often a run speaks.
                "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)},
            },
        )
        last = await deployment.aapply()
    if last is None:
        raise ValueError("no flow was given")
    return last


async def _create_pool(pool: str, concurrency: int, description: str) -> None:
    async with get_client() as client:
        try:
            await client.create_work_pool(
                WorkPoolCreate(name=pool, type=POOL_TYPE, description=description, concurrency_limit=concurrency)
            )
        except ObjectAlreadyExists:  # from an earlier `faceflow up`
            await client.update_work_pool(
                pool, WorkPoolUpdate(description=description, is_paused=False, concurrency_limit=concurrency)
            )


async def end_abandoned_runs(pool: str, worker: str, *, only_worker: bool) -> int:
    """Marks runs as crashed that `worker`, which is not running now, had taken and did not finish.

    Args:
        pool: name of the work pool.
        worker: name of the worker.
        only_worker: whether no other worker takes runs from this server's pool, so that runs without a worker's
            name are this worker's too.

    Returns:
        How many there were.
    """
    ended = 0
    async with get_client() as client:
        taken = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_TAKEN)))
        runs = await client.read_flow_runs(
            flow_run_filter=taken, work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        )
        for run in runs:
            if run.labels.get(WORKER_LABEL, worker if only_worker else None) == worker:
                reason = "The worker ended while the run was in work. Start it again: it goes on where it was."
                await client.set_flow_run_state(run.id, Crashed(message=reason), force=True)
                ended += 1
    return ended
