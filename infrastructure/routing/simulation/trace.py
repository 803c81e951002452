"""A workload that was recorded: a CSV file with one row a job or micro-batch.

    arrival_s,count,sensitivity,priority,deadline_s,frames,width,height,faces,engine,restorer,project,labels
    0.0,1,public,normal,3600,450,1280,720,1,onnx,detail,default,kind=campaign;region=eu

`arrival_s` (seconds since the beginning) and `frames` are needed; the others have the defaults of a job. Rows may come
in any order.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.simulation.arrivals import Unit
from faceflow.infrastructure.routing.snapshot import JobFacts

_PLAIN = ("sensitivity", "priority", "engine", "restorer", "project")
_NUMBERS = ("frames", "width", "height", "faces")
COLUMNS = ("arrival_s", "count", "deadline_s", "labels", *_PLAIN, *_NUMBERS)


def read_trace(text: str, origin: str) -> list[Unit]:
    """The units of a trace, by time.

    Raises:
        PolicyError: `policy.trace_invalid`, naming the line.
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        units = _units(reader, origin)
    except csv.Error as error:
        raise _invalid(origin, reader.line_num, f"not CSV: {error}") from error
    return sorted(units, key=lambda unit: (unit.decided_at, unit.first))


def _units(reader: csv.DictReader[str], origin: str) -> list[Unit]:
    unknown = sorted(set(reader.fieldnames or ()) - set(COLUMNS))
    if unknown or "arrival_s" not in (reader.fieldnames or ()):
        raise _invalid(
            origin, 1, f"unknown columns: {', '.join(unknown)}" if unknown else "there is no column arrival_s"
        )
    units: list[Unit] = []
    kinds: dict[str, int] = {}
    first = 0
    for row in reader:
        try:
            unit = _unit({name: value for name, value in row.items() if value}, first, kinds)
        except (ValueError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise _invalid(origin, reader.line_num, reason) from error
        units.append(unit)
        first += len(unit.arrivals)
    return units


def class_names(units: Sequence[Unit]) -> tuple[str, ...]:
    """What the classes of a trace are called: jobs are grouped by sensitivity."""
    names = {unit.kind: str(unit.facts.sensitivity) for unit in units}
    return tuple(names[kind] for kind in sorted(names))


def _unit(row: dict[str, Any], first: int, kinds: dict[str, int]) -> Unit:
    arrival_s = float(row["arrival_s"]) if "arrival_s" in row else math.nan
    deadline_s = float(row["deadline_s"]) if "deadline_s" in row else None
    count = int(row.get("count", 1))
    if not (math.isfinite(arrival_s) and arrival_s >= 0 and 1 <= count <= 100_000) or "frames" not in row:
        raise ValueError("arrival_s, frames or count is missing or out of range")
    if deadline_s is not None and not (math.isfinite(deadline_s) and deadline_s > 0):
        raise ValueError("deadline_s is out of range")
    known = {name: row[name] for name in (*_PLAIN, *_NUMBERS) if name in row}
    labels = dict(pair.split("=", 1) for pair in row.get("labels", "").split(";") if "=" in pair)
    facts = JobFacts(id=f"trace-{first}", labels=labels, **known)
    kind = kinds.setdefault(str(facts.sensitivity), len(kinds))
    return Unit(first, np.full(count, arrival_s), facts, deadline_s, kind)


def _invalid(origin: str, line: int, reason: str) -> PolicyError:
    return PolicyError(
        "policy.trace_invalid",
        f"Line {line} of {origin} cannot be used: {reason}.",
        f"A trace is a CSV file with the columns {', '.join(COLUMNS)}; arrival_s and frames are needed.",
    )
