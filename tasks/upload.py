"""Upload as a task: the finished output into the store that the job names."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.stages.identity import JobIdentity
from faceflow.stages.model import Delivery, Output
from faceflow.stages.upload import run_upload
from infrastructure.storage.resolve import store_for
from tasks.context import current_run
from tasks.stage_task import stage_task


@stage_task("upload", "Publishes the output, checksummed, where the job asked for it.")
async def upload(identity: JobIdentity, job: SwapJob, output: Output) -> Delivery:
    """See `faceflow.stages.upload`."""
    _ = identity
    run = current_run()
    store, key = store_for(job.output, run.settings)
    return await run.work("upload", run_upload, job, output, store, key)
