"""The base of all values that flow between stages, and of the request they begin with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A value that flows between stages: immutable, unknown fields refused, the same after a way through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
