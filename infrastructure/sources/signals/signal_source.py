"""Readings, and what every source of signals can do.

A source says what it measured, as it measured it. It leaves out what it does not know; it never guesses and never
corrects. It raises `SignalError` when it can say nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from pydantic import Field, field_validator

from faceflow.infrastructure.routing.pools import Pools
from faceflow.job import FrozenModel


class Figure(StrEnum):
    """What can be measured. `utilisation` is shown to people; no rule reads it."""

    FREE_GPUS = "free_gpus"
    QUEUE_DEPTH = "queue_depth"
    SPOT_PRICE_USD = "spot_price_usd"
    START_DELAY_S = "start_delay_s"
    PAUSED = "paused"
    UTILISATION = "utilisation"
    PEAK_LOAD = "peak_load"


class Reading(FrozenModel):
    """One measured value.

    GPUs and jobs are counts, prices US dollars a GPU-hour, delays seconds, utilisation 0 to 1, `paused` 0 or 1, peak
    load a ratio. Values may be absurd (NaN, negative): the reader judges them.
    """

    figure: Figure
    pool: str | None = None
    """None for what concerns no single pool (peak load)."""
    value: Decimal = Field(allow_inf_nan=True)
    measured_at: datetime
    source: str
    """Where it came from, for people: `prometheus`, `ec2 spot g4dn.xlarge us-east-1`."""
    note: str = ""
    """What is worth knowing about it: `no worker is online`."""

    @field_validator("value")
    @classmethod
    def _quiet(cls, value: Decimal) -> Decimal:
        """A signalling NaN raises wherever it is touched; a quiet one says the same."""
        return Decimal("NaN") if value.is_snan() else value


class SignalSource(Protocol):
    """Somebody who measures.

    Its `repr` names everything that its readings depend on (address, queries), and no secrets: readings that another
    process kept are only used where it is the same.
    """

    @property
    def name(self) -> str:
        """A word for logs, messages and the cache's file: `prometheus`."""
        ...

    @property
    def ttl_s(self) -> float:
        """How long a reading is used before it is asked for again, seconds."""
        ...

    async def gather(self, pools: Pools) -> list[Reading]:
        """What can be measured of these pools now. May be cancelled at any moment.

        Raises:
            SignalError: it can say nothing, or not all; what it can say is in the error.
        """
        ...


class SignalError(Exception):
    """Why a source does not say all that it should, in plain words without secrets; `readings` is what it can say."""

    def __init__(self, reason: str, readings: Sequence[Reading] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.readings = tuple(readings)
