"""Makes process pools of this machine and the deployments on them known to the server. Again brings them up to date.

This is what `faceflow up` needs, where jobs run with this very Python and from this folder; `register` does
the same for a whole list of pools, from the same table of flows (`faceflow.flows.server.deployed`).

Also tells the server of runs whose worker is no more: Prefect would show them as running forever, and they would fill
the pool's limit, so that no other run starts.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from faceflow.flows.dispatch import dispatch
from faceflow.flows.dispatcher.control import configured_pools
from faceflow.flows.run.automations import keep_automation
from faceflow.flows.run.starting import start_limit
from faceflow.flows.server.deployed import (
    DISPATCHER_DESCRIPTION,
    DISPATCHES_AT_ONCE,
    Deployed,
    dispatcher_automations,
    dispatcher_flows,
    work_flows,
)
from faceflow.flows.server.work_pools import queue_items
from faceflow.flows.swap_video import swap_video
from faceflow.infrastructure.machine.server.environment import HEARTBEAT_S
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

POOL_TYPE = "process"
POOL_DESCRIPTION = "Jobs as processes on this machine."
COMMAND = f"{shlex.quote(sys.executable)} -m faceflow.infrastructure.machine.server.program prefect.engine"
"""How jobs are started here: with this very Python, and without settings of Prefect that lie in the working folder."""
FORMER_COMMANDS = (f"{shlex.quote(sys.executable)} -m prefect.engine",)
"""What earlier versions registered."""
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
    paths = f"Paths refer to the worker's machine; relative ones start at `{Path.cwd()}`."
    await deploy_on(pool, work_flows(paths))
    return f"{swap_video.name}/{pool}"


async def register_dispatcher(settings: Settings) -> str:
    """Creates the dispatcher's pool, its deployments with their schedules, the automations, and the form for rules.

    Returns:
        The full name of the deployment to which jobs are given.
    """
    routing = settings.routing
    pool = routing.dispatcher_pool
    await _create_pool(pool, DISPATCHES_AT_ONCE, DISPATCHER_DESCRIPTION)
    ids = await deploy_on(pool, dispatcher_flows(settings))
    async with get_client() as client:
        for automation in dispatcher_automations(settings, ids, start_limit(settings, configured_pools(settings))):
            await keep_automation(client, automation)
        await RoutingPolicy.aregister_type_and_schema(client=client)
    return f"{dispatch.name}/{pool}"


async def require_ours(pools: Sequence[str]) -> None:
    """That nobody else's jobs run from the deployments that are about to be brought to this machine.

    On a company's server they may be those of `faceflow register`, whose workers have no such Python. Other deployments
    on these pools, under names of their own, are not touched.

    Raises:
        ServerError: `server.pool_taken`.
    """
    wanted = WorkPoolFilter(name=WorkPoolFilterName(any_=list(pools)))
    async with get_client() as client:
        found = await client.read_deployments(work_pool_filter=wanted)
    for deployment in found:
        ours = deployment.name == deployment.work_pool_name
        if ours and (deployment.job_variables or {}).get("command") not in (COMMAND, *FORMER_COMMANDS):
            raise ServerError(
                "server.pool_taken",
                f"The pool {deployment.work_pool_name!r} of this server has a deployment ({deployment.name!r}) "
                "that was not created by this installation's `faceflow up`.",
                "Serve shared pools with their own workers (`prefect worker start --pool NAME`), or give this "
                "machine's pools other names: FACEFLOW_POOL__NAME, FACEFLOW_ROUTING__DISPATCHER_POOL. "
                "Deployments of an installation that no longer exists can be deleted in the Prefect UI.",
                pool=deployment.work_pool_name,
            )


async def require_alone(dispatcher_pool: str, worker: str) -> None:
    """That nobody but `worker` serves the dispatcher's pool: two with books of their own know nothing of one another.

    Raises:
        ServerError: `server.pool_taken`.
    """
    async with get_client() as client:
        try:
            workers = await client.read_workers_for_work_pool(dispatcher_pool)
        except ObjectNotFound:
            return
    others = [one.name for one in workers if one.status is WorkerStatus.ONLINE and one.name != worker]
    if others:
        raise ServerError(
            "server.pool_taken",
            f"The pool {dispatcher_pool!r} of this server is served by {others[0]!r}, which uses its own rules "
            "and database.",
            "Send the jobs to that machine, share its database and rules (FACEFLOW_DATABASE__URL, "
            "docs/routing.md), or give this machine's pools other names (FACEFLOW_POOL__NAME, "
            "FACEFLOW_ROUTING__DISPATCHER_POOL). A killed worker still counts as active for two minutes.",
            pool=dispatcher_pool,
        )


async def deploy_on(pool: str, flows: Sequence[Deployed]) -> dict[str, UUID]:
    """Creates deployments called `pool` on the process pool `pool`; gives their ids by the flows' names."""
    ids = {}
    for one in flows:
        deployment = await one.flow.ato_deployment(
            name=pool,
            work_pool_name=pool,
            work_queue_name=str(one.queue),
            description=one.description,
            interval=one.every_s,
            concurrency_limit=one.limit,
            tags=[],  # a run's tags become its tasks' tags; see tasks/stage_task.py
            entrypoint_type=EntrypointType.MODULE_PATH,
            # With a command of its own the worker starts the job at once, where it would look for a project to install.
            job_variables={
                "command": COMMAND,
                "working_dir": str(Path.cwd()),
                # Silence can only be measured if it is known how often a run speaks.
                "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)},
            },
        )
        ids[one.flow.name] = await deployment.aapply()
    return ids


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
        for queue in await queue_items(client, pool):
            if queue.present != queue.wanted:
                await queue.put()


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
                reason = "The worker ended during the run. Start the run again: it continues where it stopped."
                await client.set_flow_run_state(run.id, Crashed(message=reason), force=True)
                ended += 1
    return ended
