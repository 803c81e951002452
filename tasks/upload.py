"""Upload as a task: the finished output into the store that the job names."""

from __future__ import annotations

from faceflow.infrastructure.stores.resolve import store_for
from faceflow.job import SwapJob
from faceflow.progress import Progress
from faceflow.settings import Settings
from faceflow.stages.identity import JobIdentity
from faceflow.stages.model import Delivery, Output
from faceflow.stages.upload import run_upload
from faceflow.tasks.context import current_run
from faceflow.tasks.stage_task import stage_task


@stage_task("upload", "Publishes the output, checksummed, where the job asked for it.")
async def upload(identity: JobIdentity, job: SwapJob, output: Output) -> Delivery:
    """See `faceflow.stages.upload`."""
    run = current_run()
    return await run.work("upload", _deliver, identity, job, output, run.settings, run.progress("upload"))


def _deliver(identity: JobIdentity, job: SwapJob, output: Output, settings: Settings, progress: Progress) -> Delivery:
    store, key = store_for(job.output, settings, project=identity.project, job_id=identity.job_id)
    return run_upload(job, output, store, key, progress)
