"""What finished jobs teach: seconds taken over seconds estimated, by engine and GPU.

The estimate that counts is the one by the table alone; measured against a corrected estimate, corrections would chase
themselves. The median of the newest runs is taken, because means believe outliers, and single runs outside the limits
of belief (`CORRECTION_LIMITS`: a stopped clock, a job of another kind) are left out.
"""

from __future__ import annotations

from statistics import median

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.schema import RunRow
from faceflow.infrastructure.books.records.runs import RunState
from faceflow.infrastructure.routing.gpu_seconds import CORRECTION_LIMITS

NEWEST = 50
"""Runs that are looked at for each engine and GPU."""
FEWEST = 3
"""With fewer than these the table is believed."""


def corrections(database: Database) -> dict[str, float]:
    """Corrections by `engine/gpu` (`mesh/t4`), for `Snapshot.corrections`."""
    found: dict[str, float] = {}
    with database.read() as session:
        last = ("", "")
        while pair := _next_pair(session, last):
            last = pair
            ratios = _ratios(session, *pair)
            if len(ratios) >= FEWEST:
                found["/".join(pair)] = round(median(ratios), 4)
    return found


def _next_pair(session: Session, last: tuple[str, str]) -> tuple[str, str] | None:
    """The pair after `last`: a few steps in the index instead of a walk over all runs."""
    statement = (
        select(RunRow.engine, RunRow.gpu)
        .where(tuple_(RunRow.engine, RunRow.gpu) > last)
        .order_by(RunRow.engine, RunRow.gpu)
        .limit(1)
    )
    row = session.execute(statement).first()
    return None if row is None else (row.engine, row.gpu)


def _ratios(session: Session, engine: str, gpu: str) -> list[float]:
    statement = (
        select(RunRow.gpu_s, RunRow.estimated_gpu_s)
        .where(RunRow.engine == engine, RunRow.gpu == gpu, RunRow.state == RunState.DONE.value)
        .order_by(RunRow.ended_at.desc())
        .limit(NEWEST)
    )
    low, high = CORRECTION_LIMITS
    ratios = [
        row.gpu_s / row.estimated_gpu_s for row in session.execute(statement) if row.gpu_s and row.estimated_gpu_s
    ]
    return [ratio for ratio in ratios if low <= ratio <= high]
