"""Which rows are decided about as one.

A decision about a batch must be the one that each of its jobs would have got. So all that rules can look at is equal
within a batch: project, sensitivity, priority, deadline, labels, engine, budget, picture size, faces. Only lengths may
differ, by at most a quarter; the batch counts with the longest, which can make it dearer on paper, never cheaper.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence

from faceflow.infrastructure.books.campaigns.rows import Row
from faceflow.infrastructure.routing.decision import Placement
from faceflow.infrastructure.routing.gpu_seconds import frames_of, reference_seconds
from faceflow.infrastructure.routing.snapshot import JobFacts

_STEP = math.log(1.25)


def route_of(row: Row) -> str:
    """24 hexadecimal digits; rows with the same ones may share a batch."""
    facts = facts_of([row], "route", 1)
    frames = frames_of(facts)
    key = facts.model_dump(mode="json", exclude={"id", "frames", "duration_s", "attempt", "count"})
    key["length"] = None if frames is None else math.floor(math.log(frames) / _STEP)
    key["known"] = (row.frames is None, row.duration_s is None)
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


def facts_of(rows: Sequence[Row], name: str, attempt: int) -> JobFacts:
    """The facts for `decide` about a batch whose rows have one route."""
    first = rows[0]
    return JobFacts.of(
        first.job,
        name,
        attempt=attempt,
        count=len(rows),
        labels=first.labels,
        frames=max((row.frames for row in rows if row.frames is not None), default=None),
        duration_s=max((row.duration_s for row in rows if row.duration_s is not None), default=None),
        width=first.width,
        height=first.height,
        faces=first.faces,
    )


def batch_name(campaign: str, names: Iterable[str]) -> str:
    """Names a batch by its jobs: the same ones again are the same batch, of which a lost run is the next attempt."""
    digest = hashlib.sha256("\n".join([campaign, *sorted(names)]).encode()).hexdigest()
    return f"batch-{digest[:24]}"


def batch_size(row: Row, most_jobs: int, most_s: float) -> int:
    """Jobs like this one in a batch: as many as allowed, and as `most_s` seconds on the reference GPU hold."""
    seconds = reference_seconds(facts_of([row], "one", 1))
    if seconds is None or seconds <= 0:
        return most_jobs
    return max(1, min(most_jobs, int(most_s / seconds)))


def shared_out(rows: Sequence[Row], placements: Sequence[Placement]) -> list[tuple[Placement, list[Row]]]:
    """The rows of a split batch by placement, as near to the shares as whole jobs allow; empty ones are left out."""
    shared: list[tuple[Placement, list[Row]]] = []
    total, begun, done = sum(placement.share for placement in placements), 0, 0.0
    for placement in placements:
        done += placement.share
        end = round(len(rows) * done / total)
        if end > begun:
            shared.append((placement, list(rows[begun:end])))
        begun = end
    return shared
