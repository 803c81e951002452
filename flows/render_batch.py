"""A micro-batch of a campaign on its pool: short jobs one after the other in one process, each on its own.

A job that fails leaves the others alone. What became of each is told in one table when the batch ends, also when it is
told to stop (a spot machine that is taken away): what is in the table is not done again. A bounded number of jobs is
in work at a time, so memory and scratch stay bounded, however long the batch.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated, Any

import structlog
from prefect import flow
from prefect.artifacts import acreate_table_artifact
from pydantic import Field

from faceflow.errors import FaceflowError
from faceflow.job import SwapJob
from faceflow.log import configure_logging, events
from faceflow.settings import Settings, current_settings
from faceflow.zones import require_zone
from flows.failures import reason_of
from infrastructure.campaigns.books import Ending, JobState
from infrastructure.ledger import remove_stale_work
from infrastructure.storage.inputs import remove_stale_inputs
from tasks.render import render

ENDINGS_KEY = "campaign-batch"
Jobs = Annotated[
    dict[str, SwapJob], Field(title="Jobs", description="The jobs by their names in the campaign.", min_length=1)
]


@flow(
    name="render-batch",
    flow_run_name="{batch}",
    description="Short jobs of a campaign, one after the other in one process.",
    persist_result=False,
)
async def render_batch(
    jobs: Jobs, batch: Annotated[str, Field(title="Batch", description="Name of the batch.")] = "batch"
) -> list[Ending]:
    """Runs the jobs and tells what became of each. Ends well also where jobs failed.

    Raises:
        TrustError: `trust.zone`: some job's media may not be here; none is opened.
    """
    settings = current_settings()
    if not structlog.is_configured():  # a worker runs us, not the command line
        configure_logging(settings.log)
    for job in jobs.values():
        require_zone(job.sensitivity, settings.pool.zone, f"The work pool {settings.pool.name!r}")
    # Prefect sends the server a line for every task, which says what its state says.
    logging.getLogger("prefect.task_runs").setLevel(logging.WARNING)
    for remove_stale in (remove_stale_work, remove_stale_inputs):
        await asyncio.to_thread(remove_stale, settings, settings.pipeline.keep_interrupted_s)
    events().info("batch.started", batch=batch, jobs=len(jobs))
    endings: dict[str, Ending] = {}
    try:
        await _work(jobs, endings, settings)
    finally:
        await _tell(endings, len(jobs))
    return list(endings.values())


async def _work(jobs: dict[str, SwapJob], endings: dict[str, Ending], settings: Settings) -> None:
    waiting = iter(jobs.items())

    async def worker() -> None:
        for name, job in waiting:
            endings[name] = await _ending(name, job)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(settings.campaigns.jobs_in_flight, len(jobs))):
            group.create_task(worker())


async def _ending(name: str, job: SwapJob) -> Ending:
    """What became of a job: every failure of its own is caught, an end of the whole batch is not."""
    with structlog.contextvars.bound_contextvars(task_id=name):
        try:
            record = await render.with_options(task_run_name=name)(job)
        except Exception as error:  # noqa: BLE001 - one job's failure is no other's
            reason = reason_of(error)
            events().warning("job.failed", **reason.to_dict())
            return _failed(name, reason)
    return Ending(name=name, state=JobState.DONE, seconds=record.seconds)


def _failed(name: str, reason: FaceflowError) -> Ending:
    """Failed for good; or, where it may pass, to be tried again in another batch."""
    state = JobState.WAITING if reason.retryable else JobState.FAILED
    return Ending(name=name, state=state, code=reason.code, message=f"{reason.message} {reason.resolution}")


async def _tell(endings: dict[str, Ending], jobs: int) -> None:
    rows = [ending.model_dump(mode="json", exclude_defaults=True) for ending in endings.values()]
    done = sum(ending.state is JobState.DONE for ending in endings.values())
    events().info("batch.finished", jobs=jobs, done=done, failed=len(endings) - done)
    await acreate_table_artifact(table=rows, key=ENDINGS_KEY, description=f"{done} of {jobs} jobs done")


def endings_in(table: Any) -> list[Ending]:
    """What a batch told, from the data of its artifact; empty where it told nothing."""
    return [Ending.model_validate(row) for row in json.loads(table)] if isinstance(table, str) else []
