"""The order of a job's stages, said once: whatever runs, counts, times or shows them reads it here.

    PREPARATION  validate ─ transcode ─ segment      once a job
    SEGMENT      swap ─ restore ─ compose            for each segment of the plan
    JOINING      join                                once all segments are composed
    DELIVERY     upload                              once nobody else has delivered

A step is a plain function together with the name under which its result is known. The steps before it and the runner of
the job supply its parameters, so a runner needs nothing but the order:

    for step in PREPARATION:
        known[step.gives] = step.run(known)

`whole.py` does so in one call, `flows` with a Prefect task a step; progress is weighted with `cost`, and the seconds
that people see are those of `stage`. A new step is a function and a line here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from faceflow.stages.compose import run_compose
from faceflow.stages.join import run_join
from faceflow.stages.restore import run_restore
from faceflow.stages.segment import run_segment
from faceflow.stages.swap import run_swap
from faceflow.stages.transcode import run_transcode
from faceflow.stages.upload import run_upload
from faceflow.stages.validate import run_validate


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of a job.

    Attributes:
        name: of the step and of its task in the Prefect UI.
        function: does it. Its parameters are called as in `known`; it is told to stop through `progress`.
        gives: the name of what it returns.
        stage: the stage of the seven under which people see the time that it took.
        cost: of a frame, relative to the other steps, from benchmarks of the embedded engine; 0: it is not counted in
            frames. Only the evenness of the bar depends on it.
        where_needed: whether many targets do not need it.
    """

    name: str
    function: Callable[..., Any]
    gives: str
    stage: str
    cost: float = 0.0
    where_needed: bool = False

    @property
    def takes(self) -> tuple[str, ...]:
        """Names of what it needs to know."""
        return tuple(inspect.signature(self.function).parameters)

    def taken_from(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """What it takes of that which is known so far."""
        return {name: known[name] for name in self.takes if name in known}

    def run(self, known: Mapping[str, Any]) -> Any:
        """Does the step with what is known, unless the run was told to stop.

        Args:
            known: what it takes, by name, and always `progress`, the `Progress` of this step.

        Raises:
            CancelledError: the run was told to stop.
            FaceflowError: as the function.
        """
        known["progress"].check()
        return self.function(**self.taken_from(known))


VALIDATE: Final = Step("validate", run_validate, "validated", "validate", cost=1.0)
TRANSCODE: Final = Step("transcode", run_transcode, "mezzanine", "transcode", cost=3.0, where_needed=True)
SEGMENTATION: Final = Step("segment", run_segment, "plan", "segment")
SWAP: Final = Step("swap", run_swap, "faces", "swap", cost=4.0)
RESTORE: Final = Step("restore", run_restore, "faces", "restore", cost=1.0)
COMPOSE: Final = Step("compose", run_compose, "part", "merge", cost=3.0)
JOIN: Final = Step("join", run_join, "output", "merge")
UPLOAD: Final = Step("upload", run_upload, "delivery", "upload")

PREPARATION: Final = (VALIDATE, TRANSCODE, SEGMENTATION)
SEGMENT: Final = (SWAP, RESTORE, COMPOSE)
"""The last one gives the segment's part, which is what is kept and handed to other machines."""
JOINING: Final = (JOIN,)
DELIVERY: Final = (UPLOAD,)


def steps() -> tuple[Step, ...]:
    """All steps in order."""
    return PREPARATION + SEGMENT + JOINING + DELIVERY


def by_stage(seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds of every stage in order, rounded to milliseconds, from those of the steps by name."""
    spent: dict[str, float] = {}
    for step in steps():
        spent[step.stage] = spent.get(step.stage, 0.0) + seconds.get(step.name, 0.0)
    return {stage: round(spent_s, 3) for stage, spent_s in spent.items()}
