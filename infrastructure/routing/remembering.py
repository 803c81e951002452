"""Models that remember what was computed from them (`cached_property`), and whose changed copies do not."""

from __future__ import annotations

from typing import Self

from faceflow.job import FrozenModel


class RememberingModel(FrozenModel):
    """A frozen model with cached properties. `model_copy(update=...)` would carry their old values into the copy."""

    def __copy__(self) -> Self:
        copy = super().__copy__()
        for name in copy.__dict__.keys() - type(copy).model_fields.keys():
            del copy.__dict__[name]
        return copy
