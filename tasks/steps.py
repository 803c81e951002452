"""The steps of a job as tasks: which task does a step of `faceflow.stages.order`, and calling one after another.

The order is not this module's business: the runner of a job follows it and asks here for each step's task.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from faceflow.stages.identity import JobIdentity
from faceflow.stages.order import Step
from faceflow.tasks.merge import compose, join
from faceflow.tasks.restore import restore
from faceflow.tasks.segment import segment_plan
from faceflow.tasks.stage_task import call, kept_result
from faceflow.tasks.swap import swap
from faceflow.tasks.transcode import transcode
from faceflow.tasks.upload import upload
from faceflow.tasks.validate import validate

TASKS: Final = {task.name: task for task in (validate, transcode, segment_plan, swap, restore, compose, join, upload)}
"""The task of every step, by the step's name."""


async def done(step: Step, identity: JobIdentity, known: Mapping[str, Any], piece: int | None = None) -> Any:
    """What a step gives: its task's kept result where the files are whole, else made anew.

    Args:
        step: which one.
        identity: under whose name results are kept.
        known: what the task takes, by name.
        piece: number of the segment, for a step of one.
    """
    task = TASKS[step.name]
    return await call(task, identity, piece, **{name: known[name] for name in _names(task) if name in known})


async def kept(step: Step, identity: JobIdentity, piece: int | None = None) -> BaseModel | None:
    """The kept result of a step whose files are all whole, or None."""
    return await kept_result(TASKS[step.name], identity, piece)


async def all_done(steps: Iterable[Step], identity: JobIdentity, known: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is known after these steps of a whole job, one after another."""
    after = dict(known)
    for step in steps:
        after[step.gives] = await done(step, identity, after)
    return after


def _names(task: Any) -> list[str]:
    """What a task takes besides the identity, which names its result."""
    return [name for name in inspect.signature(task.fn).parameters if name != "identity"]
