"""Upload as a task: the finished output into the store that the job names."""

from __future__ import annotations

import asyncio

from faceflow.infrastructure.stores.resolve import store_for
from faceflow.job import SwapJob
from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import UPLOAD
from faceflow.stages.results import Delivery, Output
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task(UPLOAD.name, "Publishes the output, checksummed, where the job asked for it.")
async def upload(identity: JobIdentity, job: SwapJob, output: Output) -> Delivery:
    """See `faceflow.stages.upload`."""
    run = current_run()
    store, key = await asyncio.to_thread(
        store_for, job.output, run.settings, project=identity.project, job_id=identity.job_id
    )
    done: Delivery = await run.work(UPLOAD, job=job, output=output, store=store, key=key)
    return done
