"""What a simulated day consists of: classes of jobs, spot prices, and what a missed job costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from faceflow.infrastructure.routing.snapshot import ClockReading
from faceflow.job import FrozenModel, Priority, Sensitivity


class Curve(StrEnum):
    """How the arrivals of a class spread over the day."""

    FLAT = "flat"
    """Evenly."""
    DAY = "day"
    """As people are awake: least at 4 o'clock, most at 20 o'clock, nine times as much."""
    CAMPAIGN = "campaign"
    """A launch at 9 o'clock that ebbs over three hours, and the evening."""


class JobClass(FrozenModel):
    """Jobs that are alike."""

    name: str
    jobs: int = Field(ge=1, le=5_000_000)
    curve: Curve = Curve.DAY
    project: str = "default"
    sensitivity: Sensitivity = Sensitivity.PUBLIC
    priority: Priority = Priority.NORMAL
    labels: Mapping[str, str] = {}
    deadline_s: float | None = Field(default=None, gt=0)
    """From arrival to when the result is needed, seconds."""
    frames: int = Field(default=450, ge=1)
    frames_spread: float = Field(default=0.0, ge=0, le=2)
    """Sigma of a log-normal factor on the length, one draw a batch; 0: all are equal."""
    width: int = 1280
    height: int = 720
    faces: int = 1
    engine: str = "onnx"
    restorer: str = "onnx"
    batch: int = Field(default=1, ge=1, le=10_000)
    """Most jobs that are decided together, as one micro-batch."""
    batch_window_s: float = Field(default=60.0, gt=0)
    """Arrivals within such a window are decided together."""


class Scenario(FrozenModel):
    """One simulated day."""

    name: str = "day"
    seed: int = 1
    begin: ClockReading = datetime(2026, 12, 24, tzinfo=UTC)
    hours: float = Field(default=24.0, gt=0, le=24 * 31)
    drain_hours: float = Field(default=12.0, ge=0)
    """How long after the last arrival work may still be done."""
    classes: tuple[JobClass, ...] = ()
    spot_price_share: Mapping[str, float] = {}
    """Mean spot price by pool, as a share of the list price; 0.4 where a pool is not named."""
    spot_price_swing: float = Field(default=0.15, ge=0, le=1)
    """How far spot prices swing around their mean (standard deviation of the logarithm)."""
    missed_job_usd: Decimal = Field(default=Decimal("0.01"), ge=0)
    """What a job costs that is not done, or not in time: the value of its result, or a refund."""
    idle_release_s: float = Field(default=300.0, ge=0)
    """A rented machine is given back when it had nothing to do for this long."""
    retry_held_s: float = Field(default=60.0, gt=0)
    """Held jobs are decided again after this, then after twice as long, up to four hours."""
