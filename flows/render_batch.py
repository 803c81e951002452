"""A micro-batch of a campaign on its pool: short jobs one after the other in one process, each on its own.

A job that fails leaves the others alone. A table tells how each stands (`flows.campaigns.batch_table`): what had ended
is not done again when the machine goes away. A bounded number of jobs is in work at a time, so memory and scratch stay
bounded, however long the batch.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog
from prefect import flow
from prefect.client.orchestration import get_client
from pydantic import Field

from faceflow.errors import FaceflowError
from faceflow.flows.campaigns.batch_table import BatchTable
from faceflow.flows.job.one_process import render
from faceflow.flows.run.entry import entered
from faceflow.flows.run.reasons import reason_of
from faceflow.flows.run.starting import require_wanted
from faceflow.flows.run.termination import sigterm_is_heard
from faceflow.infrastructure.books.campaigns.books import Ending, JobState
from faceflow.infrastructure.machine.ledger import remove_stale_work
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.stores.inputs import remove_stale_inputs
from faceflow.job import SwapJob
from faceflow.log import events
from faceflow.zones import require_pool_zone

Jobs = Annotated[
    dict[str, SwapJob], Field(title="Jobs", description="The jobs, keyed by their names in the campaign.", min_length=1)
]


@flow(
    name="render-batch",
    flow_run_name="{batch}",
    description="Runs short jobs of a campaign one after another in one process.",
    persist_result=False,
)
async def render_batch(
    jobs: Jobs, batch: Annotated[str, Field(title="Batch", description="Name of the batch.")] = "batch"
) -> list[Ending]:
    """Runs the jobs and tells what became of each. Ends well also where jobs failed.

    Raises:
        TrustError: `trust.zone`: some job's media may not be here; none is opened.
        CancelledError: `fault.given_up`: the batch counted as lost before it began.
    """
    async with entered() as settings:
        for job in jobs.values():
            require_pool_zone(job.sensitivity, settings.pool.zone, settings.pool.name)
        await require_wanted()
        for remove_stale in (remove_stale_work, remove_stale_inputs):
            await asyncio.to_thread(remove_stale, settings, settings.pipeline.keep_interrupted_s)
        events().info("batch.started", batch=batch, jobs=len(jobs))
        async with get_client() as client:
            table = BatchTable(client, len(jobs))
            try:
                with sigterm_is_heard():
                    endings = await _work(jobs, table, settings)
            finally:  # also when the batch has to stop
                done, failed = table.count(JobState.DONE), table.count(JobState.FAILED)
                events().info("batch.finished", jobs=len(jobs), done=done, failed=failed)
                await table.close()
        return endings


async def _work(jobs: dict[str, SwapJob], table: BatchTable, settings: Settings) -> list[Ending]:
    waiting = iter(jobs.items())
    endings: list[Ending] = []

    async def worker() -> None:
        for name, job in waiting:
            await table.begin(name)
            ending, link = await _ending(name, job)
            table.end(ending, link)
            endings.append(ending)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(settings.campaigns.jobs_in_flight, len(jobs))):
            group.create_task(worker())
    return endings


async def _ending(name: str, job: SwapJob) -> tuple[Ending, str]:
    """What became of a job and what opens its result. A failure of its own is caught, an end of the whole batch not."""
    with structlog.contextvars.bound_contextvars(task_id=name):
        try:
            record = await render(job)
        except Exception as error:  # noqa: BLE001 - one job's failure is no other's
            reason = reason_of(error)
            events().warning("job.failed", **reason.to_dict())
            return _failed(name, reason), ""
    return Ending(name=name, state=JobState.DONE, seconds=record.seconds), record.delivery.link


def _failed(name: str, reason: FaceflowError) -> Ending:
    """Failed for good; or, where it may pass, to be tried again in another batch."""
    state = JobState.WAITING if reason.retryable else JobState.FAILED
    return Ending(name=name, state=state, code=reason.code, message=f"{reason.message} {reason.resolution}")
