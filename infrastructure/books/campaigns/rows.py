"""The rows of a campaign: jobs with what is known of their targets.

A list may have a hundred thousand rows, and nothing is done with any of them before all were found right. They wait on
disk meanwhile, because in memory they would take 5 KB each.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticSerializationError

from faceflow.frozen import FrozenModel
from faceflow.job import SwapJob
from faceflow.locations import is_text

_IN_MEMORY_BYTES = 4 << 20


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("it is not UTF-8")
    return value


_Text = Annotated[str, AfterValidator(_text)]


class Row(FrozenModel):
    """One job of a campaign."""

    line: int = Field(ge=1)
    """Where it stands in the manifest; for folders and stores the portrait's number."""
    job: SwapJob
    labels: Mapping[_Text, _Text] = {}
    frames: int | None = Field(default=None, ge=1, le=10**8)
    duration_s: float | None = Field(default=None, gt=0, le=10**7, allow_inf_nan=False)
    width: int | None = Field(default=None, ge=1, le=65536)
    height: int | None = Field(default=None, ge=1, le=65536)
    faces: int | None = Field(default=None, ge=0, le=10_000)

    @property
    def name(self) -> str:
        """24 hexadecimal digits that name the job by what it says: the same row again is the same job."""
        text = json.dumps(self.job.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


class Rows:
    """Rows in their order, appended one by one and read as often as wanted; few in memory, many in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - closed with the object
        weakref.finalize(self, self._file.close)
        self._count = 0

    def append(self, row: Row) -> None:
        """Adds a row behind the others. Raises OSError where the disk is full, ValueError for what is no text."""
        try:
            line = row.model_dump_json(exclude_defaults=True)
        except PydanticSerializationError:
            raise ValueError("a text in it is not UTF-8") from None
        self._file.write(line.encode() + b"\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        at = 0
        while True:
            self._file.seek(at)  # somebody else may read as well
            lines = self._file.readlines(_IN_MEMORY_BYTES)
            if not lines:
                return
            at = self._file.tell()
            yield from map(Row.model_validate_json, lines)
