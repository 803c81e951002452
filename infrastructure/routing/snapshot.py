"""What `decide` reads: the job as far as placing needs it, and the snapshot of the world at one moment.

    SwapJob + media facts ─▶ JobFacts ┐
    clock, prices, queues ─▶ Snapshot ├─▶ decide ─▶ Decision
    policy, pools                     ┘

A snapshot holds signals as they were read, with their age and source, good or absurd: `readings` judges them. So what
a decision saw can be stored as it was and replayed. A signal has three states: a value; `value=None`, it should be
there and is not; and, where a field may be None as a whole, "nobody measures this", which is a fact and no failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field

from faceflow.job import FrozenModel, Priority, Sensitivity, SwapJob


def _with_offset(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs a UTC offset, such as 2027-01-31T18:00:00+00:00")
    return moment


def _in_our_age(moment: datetime) -> datetime:
    if not 2000 <= moment.year <= 9000:
        raise ValueError("a clock that shows this year is wrong")
    return moment


Moment = Annotated[datetime, AfterValidator(_with_offset)]
ClockReading = Annotated[Moment, AfterValidator(_in_our_age)]
"""A moment that a clock showed; times may be computed from it without leaving the calendar."""


def _as_signal(value: Any) -> Any:
    """A bare number in a file stands for a fresh signal of that value."""
    plain = isinstance(value, int | float | Decimal | str) and not isinstance(value, bool)
    return {"value": value} if plain else value


class Signal(FrozenModel):
    """One measured number: its value as it came (None: missing), its age in seconds and where it came from."""

    value: float | None = None
    age_s: float = 0.0
    source: str = "given"


class MoneySignal(FrozenModel):
    """One measured amount in US dollars: its value as it came (None: missing), its age in seconds and its source."""

    value: Annotated[Decimal, Field(allow_inf_nan=True)] | None = None
    age_s: float = 0.0
    source: str = "given"


AnySignal = Annotated[Signal, BeforeValidator(_as_signal)]
AnyMoneySignal = Annotated[MoneySignal, BeforeValidator(_as_signal)]
MISSING = Signal(source="nobody")
MISSING_MONEY = MoneySignal(source="nobody")


class PoolSignals(FrozenModel):
    """What was measured of one pool."""

    free_gpus: AnySignal = MISSING
    """GPUs that could start a job now; for a cloud pool, how many more it may start."""
    queue_depth: AnySignal = MISSING
    """Jobs that wait in the pool's queue."""
    spot_price_usd: AnyMoneySignal = MISSING_MONEY
    """US dollars a GPU-hour, for spot pools. Others cost what the list of pools says."""
    start_delay_s: AnySignal | None = None
    """Seconds from placing to the first frame when a GPU is free. None: as the list of pools says."""
    paused: bool = False
    """The pool takes no jobs at present; a fact from the keeper of the list of pools."""


class Snapshot(FrozenModel):
    """The world at one moment, as far as placing needs it."""

    now: ClockReading
    pools: Mapping[str, PoolSignals] = {}
    """Signals by pool name. A pool that is not here has none."""
    peak_load: AnySignal = MISSING
    """Work that arrives, divided by what the owned GPUs can do: 1 fills them exactly."""
    budget_left_usd: AnyMoneySignal | None = None
    """What the project may still spend this month. None: the project has no budget."""
    corrections: Mapping[str, float] = {}
    """Seconds that finished jobs took, divided by the estimate, by `engine/gpu` (`mesh/t4`)."""


class JobProgress(FrozenModel):
    """How far an earlier attempt came."""

    done: float
    """Share of the work that is finished, 0 to 1."""
    started_at: ClockReading
    """When the first attempt began: the straight line to the deadline starts here."""
    on_demand: bool = False
    """Whether the job runs on on-demand capacity now, to which it was moved because it was late."""


class JobFacts(FrozenModel):
    """A job, or a micro-batch of `count` equal jobs of a campaign, as far as placing needs it."""

    id: str = Field(min_length=1, max_length=200)
    attempt: int = Field(default=1, ge=1)
    count: int = Field(default=1, ge=1, le=100_000)
    """Jobs that this decision stands for; the other figures are those of one of them."""
    project: str = "default"
    sensitivity: Sensitivity = Sensitivity.PUBLIC
    priority: Priority = Priority.NORMAL
    labels: Mapping[str, str] = {}
    deadline: Moment | None = None
    budget_usd: Decimal | None = Field(default=None, ge=0, le=Decimal(10) ** 9)
    """The most that one job may cost."""
    frames: int | None = Field(default=None, ge=1, le=10**8)
    """Frames of one job; None: not known yet."""
    duration_s: float | None = Field(default=None, gt=0, le=10**7, allow_inf_nan=False)
    width: int | None = Field(default=None, ge=1, le=65536)
    height: int | None = Field(default=None, ge=1, le=65536)
    faces: int | None = Field(default=None, ge=0, le=10_000)
    """Faces that are swapped in a frame."""
    engine: str = "mesh"
    restorer: str = "detail"
    output_bytes: int | None = Field(default=None, ge=0, le=10**14)
    """Size of one result, for egress; None: estimated from duration and picture size."""
    progress: JobProgress | None = None

    @classmethod
    def of(cls, job: SwapJob, id: str, **known: Any) -> Self:
        """The facts of a `SwapJob`; `known` adds what the job itself does not say (frames, faces, labels, attempt)."""
        return cls(
            id=id,
            project=job.project,
            sensitivity=job.sensitivity,
            priority=job.priority,
            deadline=job.deadline,
            budget_usd=job.budget.limit_usd if job.budget else None,
            engine=job.swap.engine,
            restorer=job.swap.restorer,
            **known,
        )
