"""The rules document: which jobs go where, as data.

An ordered list of rules. The first whose `when` fits the job and the moment says with `place` what happens to it; a
document may end with a `default`. A version, and a hash over the content, travel with every decision, so that years
later it can be said which rules were in force.

A rule can wish; it cannot permit. Where media may go is decided by `wall`, which reads no rule.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from faceflow.infrastructure.routing.remembering import RememberingModel
from faceflow.job import FrozenModel, Priority, Sensitivity


class _OneOrMore:
    """In the published schema: one value may stand where a list is meant."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(core)
        return {"anyOf": [many, many["items"]]}


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _clock(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("a time of day is written as 22:30")
    return value


_MANY = (BeforeValidator(_as_tuple), _OneOrMore(), Field(min_length=1))
Sensitivities = Annotated[tuple[Sensitivity, ...], *_MANY]
Priorities = Annotated[tuple[Priority, ...], *_MANY]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], *_MANY]
ClockTime = Annotated[time, BeforeValidator(_clock)]


class Bounds(FrozenModel):
    """A range of numbers; at least one border is given."""

    below: float | None = Field(default=None, allow_inf_nan=False)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    above: float | None = Field(default=None, allow_inf_nan=False)
    at_least: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give one of below, at_most, above, at_least")
        return self


class PoolBounds(Bounds):
    """A range for a figure of one pool."""

    pool: str

    @model_validator(mode="after")
    def _has_border(self) -> Self:
        if self.model_fields_set == {"pool"}:
            raise ValueError("give one of below, at_most, above, at_least")
        return self


class TimeOfDay(FrozenModel):
    """From a time of day (included) to another (not included); over midnight where `from` is the later one."""

    model_config = FrozenModel.model_config | {"populate_by_name": True}

    from_: ClockTime = Field(alias="from")
    to: ClockTime
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"the time zone {name!r} is unknown") from error
        return name


class When(FrozenModel):
    """All conditions that are given must hold."""

    sensitivity: Sensitivities | None = None
    priority: Priorities | None = None
    deadline_slack_s: Bounds | None = None
    """Seconds that are left until the deadline; jobs without a deadline do not match."""
    project: Names | None = None
    """Names, or patterns with `*`."""
    labels: Mapping[str, Names] | None = None
    """For each label named here, the job must carry one of the values; patterns with `*` may be used."""
    duration_s: Bounds | None = None
    height_px: Bounds | None = None
    """Resolution, by the height of the picture: 1080 for 1920x1080."""
    faces: Bounds | None = None
    peak_load: Bounds | None = None
    free_gpus: PoolBounds | None = None
    queue_depth: PoolBounds | None = None
    spot_price_usd: PoolBounds | None = None
    budget_left_usd: Bounds | None = None
    time_of_day: TimeOfDay | None = None


class Share(FrozenModel):
    """One of the pools that work in parallel."""

    pool: str
    share: float | None = Field(default=None, gt=0, le=1)
    """Part of the work. Without shares the pools race: each does all, the first good result counts."""


class Place(RememberingModel):
    """What happens to a job: exactly one of `lock`, `prefer`, `parallel`, `hold`, `refuse`."""

    lock: Names | None = None
    """These pools and no others; the job waits for them."""
    prefer: Names | None = None
    """The first of these that is free in time; when all are full, `fallback`; when that is full too, it waits."""
    parallel: Annotated[tuple[Share, ...], Field(min_length=1)] | None = None
    fallback: Names | None = None
    hold: str | None = Field(default=None, min_length=1)
    """Not placed for now, for this reason; looked at again when signals change."""
    refuse: str | None = Field(default=None, min_length=1)
    """Not done, for this reason."""
    max_wait_s: float = Field(default=0.0, ge=0, le=604_800)
    """With `prefer`: a pool counts as full when a job would wait longer than this for a GPU."""
    switch_to_on_demand: bool = True
    """A job that falls behind the straight line to its deadline moves from spot to on-demand capacity."""
    over_budget: Literal["hold", "refuse"] = "hold"
    """What happens when only the money is missing: it waits for approval, or is refused."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ways = [name for name in ("lock", "prefer", "parallel", "hold", "refuse") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(f"give exactly one of lock, prefer, parallel, hold, refuse; given: {ways or 'none'}")
        if self.fallback and ways[0] not in {"prefer", "parallel"}:
            raise ValueError(f"fallback can be combined with prefer or parallel, not with {ways[0]}")
        if len(set(self.pool_names)) != len(self.pool_names):
            raise ValueError("a pool is named twice")
        shares = [member.share for member in self.parallel or ()]
        if any(share is None for share in shares) and any(share is not None for share in shares):
            raise ValueError("give a share to every pool or to none (without shares they race)")
        if shares and all(share is not None for share in shares) and abs(sum(filter(None, shares)) - 1) > 1e-6:
            raise ValueError("the shares must add up to 1")
        return self

    @cached_property
    def pool_names(self) -> tuple[str, ...]:
        """All pools that are named, in order."""
        members = tuple(member.pool for member in self.parallel or ())
        return (self.lock or ()) + (self.prefer or ()) + members + (self.fallback or ())


class Rule(FrozenModel):
    """One rule."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")
    why: str = ""
    """The reason, in words that the legal department reads in the explanation."""
    when: When = When()
    place: Place


class PolicySettings(FrozenModel):
    """How careful the whole policy is."""

    max_signal_age_s: float = Field(default=300.0, gt=0, le=86_400)
    """Older signals count as missing, seconds."""
    cost_headroom: Decimal = Field(default=Decimal("1.2"), ge=1, le=10)
    """What is reserved from a budget, as a multiple of the estimate at the highest price that may hold."""
    mean_job_gpu_s: float = Field(default=60.0, gt=0, le=86_400)
    """GPU-seconds of the usual waiting job on the reference GPU: turns the depth of a queue into a wait."""
    changeover_s: float = Field(default=180.0, ge=0, le=86_400)
    """Time that moving a job from spot to on-demand capacity costs, seconds."""


class Policy(RememberingModel):
    """The rules that are in force together."""

    version: int = Field(ge=1)
    description: str = ""
    settings: PolicySettings = PolicySettings()
    rules: tuple[Rule, ...] = Field(max_length=10_000)
    default: Place | None = None
    """What happens to a job that no rule fits. Without it such a job is held."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f"two rules are called {rule.name!r}")
            seen.add(rule.name)
        return self

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the content (not over the spelling: comments, order of keys and form do not matter)."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
