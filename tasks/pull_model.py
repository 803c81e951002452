"""Fetching one model as a task: retried where the failure may pass, told in the UI by the model's name."""

from __future__ import annotations

import asyncio
import threading

from prefect import task

from faceflow.infrastructure.models.pull import pull
from faceflow.infrastructure.settings import current_settings
from faceflow.job import FrozenModel
from faceflow.tasks.stage_task import RETRIES, RETRY_DELAY_S, is_retryable
from faceflow.vision.model_cache import ModelCache
from faceflow.vision.model_catalogue import catalogue


class InstalledModel(FrozenModel):
    """A model that is in the models folder, verified.

    Attributes:
        name: of the catalogue.
        path: the file to load.
        size_bytes, sha256: of that file.
        fetched: whether it had to be fetched.
    """

    name: str
    path: str
    size_bytes: int
    sha256: str
    fetched: bool


@task(
    name="pull-model",
    task_run_name="pull {name}",
    description="Downloads one model into the models folder, or verifies the one that is there.",
    retries=RETRIES,
    retry_delay_seconds=list(RETRY_DELAY_S),
    retry_condition_fn=is_retryable,
    persist_result=False,
)
async def pull_model(name: str) -> InstalledModel:
    """Sees to it that the model `name` is there. What it needs is up to the flow: each model is a task of its own.

    Raises:
        FaceflowError: it is not, and why.
    """
    settings = current_settings()
    stop = threading.Event()
    try:
        report = await asyncio.to_thread(pull, [name], settings, needs=False, stop=stop)
    finally:
        stop.set()  # a cancelled task's thread ends at its next piece
    report.require_complete()
    entry = catalogue(settings).find(name)
    cache = ModelCache(settings.models_folder)
    record = await asyncio.to_thread(cache.verify_file, entry, entry.files[0])
    return InstalledModel(
        name=name,
        path=str(cache.file_path(entry, entry.files[0])),
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        fetched=name in report.pulled,
    )
