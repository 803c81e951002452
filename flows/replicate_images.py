"""Copies the container image to the registry near each work pool, so that a pull is short when a pool needs a machine.

Runs on a schedule, because a registry may have been away, and on every release (the event `faceflow.image.released`).
A registry that fails does not keep the others from having it; what it had received is not sent again by the next run.
Where no server is, `faceflow images replicate` does the same.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from pydantic import Field

from faceflow.errors import FaceflowError
from faceflow.flows.run.entry import entered
from faceflow.infrastructure.machine.images.replicas import Replica, SourceImage
from faceflow.infrastructure.machine.images.targets import targets
from faceflow.infrastructure.settings import Settings
from faceflow.log import events
from faceflow.tasks.replicate_image import find_image, replicate_image

REPLICAS_KEY = "image-replicas"


@flow(
    name="replicate-images",
    description=(
        "Copies the image by its digest to the registry near each work pool, and lists the registries that are behind."
    ),
    persist_result=False,
)
async def replicate_images(
    image: Annotated[str, Field(title="Image")] = "",
    pools: Annotated[list[str], Field(title="Pools")] = [],  # noqa: B006 - Prefect reads it and nobody changes it
    only_look: Annotated[bool, Field(title="Only look")] = False,
) -> list[Replica]:
    """Brings the image to every registry, or with `only_look` says who has it.

    Args:
        image: `HOST/REPOSITORY:TAG`, with `@sha256:...` for exactly one version; empty takes FACEFLOW_IMAGES__SOURCE.
        pools: Work pools whose registries are meant; empty takes all of FACEFLOW_IMAGES__REGISTRIES.
        only_look: Whether to copy nothing.

    Raises:
        FaceflowError: one registry does not have it, and why; the others do.
    """
    async with entered() as settings:
        places = targets(settings, pools)
        source = await find_image(image)
        return await _replicate(source, places, only_look, settings)


async def _replicate(
    source: SourceImage, places: dict[str, tuple[str, ...]], only_look: bool, settings: Settings
) -> list[Replica]:
    at_once = asyncio.Semaphore(settings.images.parallel)

    async def one(place: str, pools: tuple[str, ...]) -> Replica:
        async with at_once:
            replica: Replica = await replicate_image(source, place, pools, only_look)
            return replica

    results = await asyncio.gather(*(one(place, pools) for place, pools in places.items()), return_exceptions=True)
    await _show(source, places, results)
    failed = [result for result in results if isinstance(result, BaseException)]
    for place, result in zip(places, results, strict=True):
        if isinstance(result, FaceflowError):
            events().error("image.not_replicated", repository=place, **result.to_dict())
    if failed:
        raise failed[0]
    return [result for result in results if isinstance(result, Replica)]


async def _show(
    source: SourceImage, places: dict[str, tuple[str, ...]], results: list[Replica | BaseException]
) -> None:
    """One row a registry; its `record` holds everything, for programs."""
    rows: list[dict[str, Any]] = []
    for (place, pools), result in zip(places.items(), results, strict=True):
        row: dict[str, Any] = {"registry": place, "pools": ", ".join(pools)}
        if isinstance(result, Replica):
            state = "copied and verified" if result.copied else result.state.value
            row |= {"state": state, "lag, s": result.lag_s, "copy, s": result.seconds, "digest": result.digest}
            rows.append(row | {"record": result.model_dump_json()})
        else:
            rows.append(
                row | {"state": f"failed: {result}", "lag, s": None, "copy, s": None, "digest": "", "record": ""}
            )
    await acreate_table_artifact(
        table=rows, key=REPLICAS_KEY, description=f"Copies of {source.image}, {source.digest}, made {source.created}"
    )
