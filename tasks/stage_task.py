"""What all seven stages have in common as Prefect tasks: cache key, retries, persisted results, and seeing a lost file.

A stage's result is a small model that names files. It is kept under `<project>/<job id>/<stage>-...`, a key of
the job's content and of the versions that made it, never of the run, so a new run of the same job finds it. A
result may outlive its file; `call` therefore looks at the files first and runs the stage again where one is
missing or cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypeVar

from prefect import Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.results import ResultStore
from pydantic import BaseModel

import faceflow
from faceflow.errors import FaceflowError
from faceflow.stages.artifacts import artifact_is_whole
from faceflow.stages.identity import JobIdentity
from faceflow.stages.results import Artifact, FacesFile
from faceflow.tasks.context import RunContext, current_run

R = TypeVar("R", bound=BaseModel)
StageTask = Task[..., Awaitable[R]]

RETRIES = 2
RETRY_DELAY_S = (2.0, 10.0)

_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError, OSError, EOFError)
"""What Prefect raises for a record that is none: it imports the classes and serializers that the record names."""


def version_digest(run: RunContext) -> str:
    """Eight hexadecimal digits of all but the job that decides on the bytes: versions, networks, encoder threads."""
    versions = {
        "faceflow": faceflow.__version__,
        "engines": dict(run.engines),
        "packages": _packages(),
        "encode": run.settings.encode.model_dump(),
    }
    if run.settings.trust.carry_place != "public":  # so that what was made under the default is found under it
        versions["carry_place"] = run.settings.trust.carry_place
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:8]


@lru_cache(maxsize=1)
def _packages() -> dict[str, str]:
    return {name: version(name) for name in ("ai-edge-litert", "av", "numpy", "opencv-python-headless")}


def stage_key(stage: str, identity: JobIdentity, piece: int | None = None) -> str:
    """The cache key and storage key of a stage's result; `piece` is the segment's number."""
    piece_name = "" if piece is None else f"-{piece:05d}"
    digest = version_digest(current_run())
    return f"{identity.project}/{identity.job_id}/{stage}{piece_name}-{digest}"


def is_retryable(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a task's failure may pass, as Prefect asks it."""
    error = state.data if isinstance(state.data, BaseException) else getattr(state.data, "exception", None)
    return isinstance(error, FaceflowError) and error.retryable


def stage_task(stage: str, description: str) -> Callable[[Callable[..., Awaitable[R]]], Any]:
    """Decorator: makes the Prefect task of a stage.

    The function's first parameter is `identity`; a parameter `segment` makes the result one a segment.
    """

    def key_of(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
        segment = parameters.get("segment")
        return stage_key(stage, parameters["identity"], None if segment is None else segment.number)

    def decorate(function: Callable[..., Awaitable[R]]) -> Any:
        return Task(
            function,
            name=stage,
            description=description,
            # No tags: each one asks the server for a concurrency slot, which a busy SQLite refuses for two seconds.
            cache_policy=CacheKeyFnPolicy(cache_key_fn=key_of),
            persist_result=True,
            result_serializer="json",
            retries=RETRIES,
            retry_delay_seconds=list(RETRY_DELAY_S),
            retry_condition_fn=is_retryable,
        )

    return decorate


async def kept_result(stage: Any, identity: JobIdentity, piece: int | None = None) -> BaseModel | None:
    """The kept result of a stage's task whose files are all whole, or None."""
    # The task's own store: that of a flow which keeps no result says that nothing exists.
    store = await ResultStore().aupdate_for_task(stage)
    key = stage_key(stage.name, identity, piece)
    if not await store.aexists(key):
        return None
    try:
        result = (await store.aread(key)).result
    except _DAMAGE:  # a record that is cut or changed is as good as none
        return None
    return result if isinstance(result, BaseModel) and all(map(artifact_is_whole, artifacts_of(result))) else None


def artifacts_of(value: Any) -> list[Artifact | FacesFile]:
    """Every finished file inside a result model."""
    if isinstance(value, Artifact | FacesFile):
        return [value]
    if isinstance(value, BaseModel):
        return [artifact for name in type(value).model_fields for artifact in artifacts_of(getattr(value, name))]
    if isinstance(value, tuple | list):
        return [artifact for item in value for artifact in artifacts_of(item)]
    return []


async def call(stage: Any, identity: JobIdentity, piece: int | None = None, **parameters: Any) -> Any:
    """Calls a stage's task: its kept result where the files are whole, else run anew."""
    kept = await kept_result(stage, identity, piece)
    task = stage if kept is not None else stage.with_options(refresh_cache=True)
    name = stage.name if piece is None else f"{stage.name}-{piece:05d}"
    return await task.with_options(task_run_name=name)(identity=identity, **parameters)
