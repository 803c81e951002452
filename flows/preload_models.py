"""Fetches the models that a pool needs before its first job: for new machines, shared caches and image builds.

Jobs never download anything. Every model is a task of its own, so the UI shows which one is on its way and only what
failed is tried again. Where no server is, `faceflow models pull --for-pool POOL` does the same.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from pydantic import Field

from faceflow.errors import FaceflowError
from faceflow.flows.run.entry import entered
from faceflow.infrastructure.models.pools import models_of_pool
from faceflow.infrastructure.settings import Settings
from faceflow.log import events
from faceflow.tasks.pull_model import InstalledModel, pull_model
from faceflow.vision.model_catalogue import catalogue
from faceflow.vision.model_licence import require_allowed

MODELS_KEY = "preloaded-models"


@flow(
    name="preload-models",
    description="Downloads and verifies the models that a pool needs, before its first job.",
    persist_result=False,
)
async def preload_models(
    models: Annotated[list[str], Field(title="Models")] = [],  # noqa: B006 - Prefect reads it and nobody changes it
    pool: Annotated[str, Field(title="Pool")] = "",
) -> list[InstalledModel]:
    """Fetches models into the models folder of the machine that it runs on.

    Args:
        models: Names, as `faceflow models list` shows them.
        pool: Work pool whose models FACEFLOW_MODELS__POOLS or the list of pools names; with neither models nor pool,
            the pool of the machine itself.

    Raises:
        FaceflowError: one of them is not there, and why; the others are.
    """
    async with entered() as settings:
        return await _preload(_wanted(models, pool, settings), settings)


def _wanted(models: list[str], pool: str, settings: Settings) -> list[str]:
    """Names of all files' models, what is needed first. Raises before anything is fetched."""
    chosen = [*models]
    if pool or not models:
        chosen += models_of_pool(pool or settings.pool.name, settings)
    known = catalogue(settings)
    for name in chosen:
        require_allowed(known.find(name), settings, known)
    return [entry.name for entry in known.with_needs(chosen) if entry.files]


async def _preload(names: list[str], settings: Settings) -> list[InstalledModel]:
    at_once = asyncio.Semaphore(settings.models.parallel)

    async def one(name: str) -> InstalledModel:
        async with at_once:
            installed: InstalledModel = await pull_model(name)
            return installed

    results = await asyncio.gather(*map(one, names), return_exceptions=True)
    installed = [result for result in results if isinstance(result, InstalledModel)]
    await _show(names, results)
    failed = [result for result in results if isinstance(result, BaseException)]
    for name, result in zip(names, results, strict=True):
        if isinstance(result, FaceflowError):
            events().error("model.not_preloaded", model=name, **result.to_dict())
    if failed:
        raise failed[0]
    return installed


async def _show(names: list[str], results: list[InstalledModel | BaseException]) -> None:
    rows = []
    for name, result in zip(names, results, strict=True):
        if isinstance(result, InstalledModel):
            state = "fetched" if result.fetched else "already there, verified"
            rows.append({"model": name, "state": state, "bytes": result.size_bytes, "SHA-256": result.sha256})
        else:
            rows.append({"model": name, "state": f"failed: {result}", "bytes": None, "SHA-256": None})
    await acreate_table_artifact(table=rows, key=MODELS_KEY, description="Models of this machine")
