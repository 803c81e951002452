"""Makes the local process pool and the deployments on it known to the server. Doing it again changes nothing."""

from __future__ import annotations

from contextlib import suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.types.entrypoint import EntrypointType

from flows.swap_video import swap_video

POOL_TYPE = "process"


async def register_local(pool: str, concurrency: int) -> str:
    """Creates the process pool `pool` and the deployment `swap-video/<pool>` on it.

    Args:
        pool: name of the work pool and of the deployment.
        concurrency: jobs that run at once on it.

    Returns:
        The deployment's full name.
    """
    async with get_client() as client:
        with suppress(ObjectAlreadyExists):  # from an earlier `faceflow up`
            await client.create_work_pool(
                WorkPoolCreate(
                    name=pool,
                    type=POOL_TYPE,
                    description="Jobs as processes on this machine.",
                    concurrency_limit=concurrency,
                )
            )
    deployment = await swap_video.ato_deployment(
        name=pool,
        work_pool_name=pool,
        description="Swaps a face in one video or picture. Paths are those of the machine the worker runs on.",
        tags=["faceflow"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    await deployment.aapply()
    return f"{swap_video.name}/{pool}"
