"""The answer of `decide`: where, at what price, until when, by which rule, and why nowhere else.

It is stored with the job and shown as an artifact, so it can be read without the rules that led to it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from faceflow.infrastructure.routing.pools import Capacity
from faceflow.job import FrozenModel, Priority, Sensitivity
from faceflow.zones import Zone


class Action(StrEnum):
    """What happens to the job now."""

    RUN = "run"
    """It is sent to the placements, where it is expected to start at once."""
    WAIT = "wait"
    """It is sent to the placements, which are full, and waits in their queue."""
    HOLD = "hold"
    """It is sent nowhere, and looked at again when signals or budgets change."""
    REFUSE = "refuse"
    """It is not done."""


class Way(StrEnum):
    """How several placements share a job."""

    ONE = "one"
    SPLIT = "split"
    RACE = "race"


class Obstacle(StrEnum):
    """Why a pool was not chosen."""

    ZONE = "zone"
    UNKNOWN_POOL = "unknown_pool"
    NOT_NAMED = "not_named"
    PAUSED = "paused"
    OVER_BUDGET = "over_budget"
    COST_UNKNOWN = "cost_unknown"
    FULL = "full"
    TOO_LATE = "too_late"
    LESS_CAREFUL = "less_careful"
    NOT_NEEDED = "not_needed"
    SWITCHED = "switched"


class Rejection(FrozenModel):
    """A pool that was not chosen."""

    pool: str
    code: Obstacle
    reason: str


class Estimate(FrozenModel):
    """What is expected. None: it cannot be told."""

    gpu_s: float | None
    cost_usd: Decimal | None
    """Expected cost; while a price is not known, at the highest that it may be."""
    reserve_usd: Decimal | None
    """What is taken from the budgets before the run."""
    start_delay_s: float | None
    finish_at: datetime | None
    meets_deadline: bool | None
    """None also where there is no deadline."""


class Placement(FrozenModel):
    """A pool that gets the job, or a share of it."""

    pool: str
    zone: Zone
    capacity: Capacity
    share: float
    """Part of the work, 0 to 1. In a race every pool does all of it."""
    estimate: Estimate


class PolicyRef(FrozenModel):
    """Which rules decided."""

    version: int
    hash: str


class Decision(FrozenModel):
    """Where a job goes, and why."""

    job_id: str
    attempt: int
    count: int
    project: str
    sensitivity: Sensitivity
    priority: Priority
    deadline: datetime | None
    decided_at: datetime
    policy: PolicyRef
    action: Action
    rule: str | None
    """Name of the rule that matched; `default`; None where none did."""
    why: str
    """The rule's own reason."""
    reason: str
    """What held the job back or made it wait; empty where it simply runs."""
    way: Way
    placements: tuple[Placement, ...]
    estimate: Estimate
    """All placements together."""
    rejected: tuple[Rejection, ...]
    notes: tuple[str, ...]
    """Signals that were read with care, and other things worth knowing."""
