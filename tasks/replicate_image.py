"""Bringing the image to one registry as a task: retried where the failure may pass, told in the UI by the registry."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect import task
from prefect.blocks.system import Secret

from faceflow.infrastructure.machine.images.credentials import credentials_file
from faceflow.infrastructure.machine.images.registry_errors import RegistrySetupError
from faceflow.infrastructure.machine.images.replicas import Replica, SourceImage, bring, find_source, look
from faceflow.infrastructure.machine.images.skopeo import Skopeo
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.tasks.stage_task import RETRIES, RETRY_DELAY_S, is_retryable


@task(
    name="find-image",
    description="Resolves the image's tag to the digest it currently points to.",
    retries=RETRIES,
    retry_delay_seconds=list(RETRY_DELAY_S),
    retry_condition_fn=is_retryable,
    persist_result=False,
)
async def find_image(image: str) -> SourceImage:
    """The version that every registry is to have.

    Raises:
        FaceflowError: it is not known, and why.
    """
    settings = current_settings()
    async with _skopeo(settings) as skopeo:
        return await asyncio.to_thread(find_source, image, settings, skopeo)


@task(
    name="replicate-image",
    task_run_name="image to {place}",
    description="Copies the image to one registry by its digest, and verifies it at both ends.",
    retries=RETRIES,
    retry_delay_seconds=list(RETRY_DELAY_S),
    retry_condition_fn=is_retryable,
    persist_result=False,
)
async def replicate_image(source: SourceImage, place: str, pools: tuple[str, ...], only_look: bool) -> Replica:
    """Sees to it that the registry has the image, or looks whether it has. Layers that are there are not sent again.

    Raises:
        FaceflowError: it has not, and why.
    """
    settings = current_settings()
    async with _skopeo(settings) as skopeo:
        if only_look:
            return await asyncio.to_thread(look, source, place, tuple(pools), skopeo)
        return await asyncio.to_thread(bring, source, place, tuple(pools), skopeo, settings.images.timeout_s)


@asynccontextmanager
async def _skopeo(settings: Settings) -> AsyncIterator[Skopeo]:
    stop = threading.Event()
    with credentials_file(settings, await _secret(settings.images.credentials_block)) as credentials:
        try:
            yield Skopeo(credentials, settings.images.without_tls, stop)
        finally:
            stop.set()  # a cancelled task's thread ends its program


async def _secret(block: str) -> str | None:
    if not block:
        return None
    try:
        loaded: Secret[Any] = await Secret.aload(block)
    except ValueError as error:
        raise RegistrySetupError(
            "registry.credentials_invalid",
            f"There is no Secret block {block!r} with the logins of the registries.",
            "Create it in the UI under Blocks, or correct FACEFLOW_IMAGES__CREDENTIALS_BLOCK.",
        ) from error
    value: object = loaded.get()
    return value if isinstance(value, str) else json.dumps(value)  # a block that was filled with JSON gives it parsed
