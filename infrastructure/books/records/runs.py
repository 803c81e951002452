"""The pieces of work that an attempt became: on which pool, since when, for how long and for how much.

    submitted ─▶ running ─▶ done | failed | lost | cancelled

Events come over a network, late, twice or not at all: each may be told again, a start may be missing, and an end that
is known stays. `part` tells shards of one pool apart.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from faceflow.errors import JobError
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_if_absent
from faceflow.infrastructure.books.database.money import whole_micros
from faceflow.infrastructure.books.database.schema import RunRow
from faceflow.infrastructure.routing.gpu_seconds import reference_seconds, speed
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.snapshot import JobFacts
from faceflow.job import FrozenModel


class RunState(StrEnum):
    """How far a run came."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """It ended with an error of its own."""
    LOST = "lost"
    """Its machine went away, or nobody heard of it any more."""
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self not in {RunState.SUBMITTED, RunState.RUNNING}


class RunKey(FrozenModel):
    """Names a run."""

    job_id: str
    attempt: int = Field(ge=1)
    pool: str
    part: str = ""


class Run(RunKey):
    """A run as it is known."""

    project: str
    count: int
    engine: str
    gpu: str
    flow_run_id: str | None
    state: RunState
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    estimated_gpu_s: float | None
    """By the table alone, without corrections: what corrections are computed against."""
    gpu_s: float | None
    price_usd_per_gpu_hour: Decimal | None
    cost_usd: Decimal | None
    error_code: str | None
    reason: str | None = None
    """Why it was lost, as far as anybody said."""

    @property
    def key(self) -> RunKey:
        """Its name."""
        return RunKey(job_id=self.job_id, attempt=self.attempt, pool=self.pool, part=self.part)


def submit_run(
    database: Database,
    facts: JobFacts,
    pool: Pool,
    at: datetime,
    *,
    part: str = "",
    share: float = 1.0,
    flow_run_id: str | None = None,
    price_usd_per_gpu_hour: Decimal | None = None,
) -> Run:
    """Keeps that a run was sent to a pool; told again, it adds the flow run's id and changes nothing else.

    Args:
        facts: the job or micro-batch as it was decided. pool: where it was sent. part: tells shards on one pool apart.
        share: part of the job's work, 0 to 1. flow_run_id: Prefect's id of it. price_usd_per_gpu_hour: the price for
        the cost if the caller does not state it; the pool's list price by default.
    """
    reference = reference_seconds(facts)
    price = pool.price_usd_per_gpu_hour if price_usd_per_gpu_hour is None else price_usd_per_gpu_hour
    values = {
        "job_id": facts.id,
        "attempt": facts.attempt,
        "pool": pool.name,
        "part": part,
        "project": facts.project,
        "count": facts.count,
        "engine": facts.engine,
        "gpu": pool.gpu,
        "flow_run_id": flow_run_id,
        "state": RunState.SUBMITTED.value,
        "submitted_at": at,
        "estimated_gpu_s": None if reference is None else reference * share / speed(facts.engine, pool.gpu),
        "price_usd_per_gpu_hour": whole_micros(price),
    }
    key = RunKey(job_id=facts.id, attempt=facts.attempt, pool=pool.name, part=part)
    with database.write() as session:
        session.execute(insert_if_absent(session, RunRow, values, ("job_id", "attempt", "pool", "part")))
        row = _locked(session, key)
        row.flow_run_id = flow_run_id or row.flow_run_id
        session.flush()
        return _run(row)


def start_run(database: Database, key: RunKey, at: datetime, flow_run_id: str | None = None) -> Run:
    """Keeps that a run began.

    Raises:
        JobError: `job.unknown_run`.
    """
    with database.write() as session:
        row = _locked(session, key)
        row.flow_run_id = flow_run_id or row.flow_run_id
        row.started_at = row.started_at or at
        if row.state == RunState.SUBMITTED:
            row.state = RunState.RUNNING.value
        session.flush()
        return _run(row)


def end_run(
    database: Database,
    key: RunKey,
    state: RunState,
    at: datetime,
    *,
    gpu_s: float | None = None,
    cost_usd: Decimal | None = None,
    error_code: str | None = None,
    reason: str | None = None,
) -> Run:
    """Keeps how a run ended. The first report stays; only what was not known yet is filled in.

    Args:
        key: which run.
        state: one of those that end.
        at: when.
        gpu_s: seconds that it held a GPU; by default the time since it started.
        cost_usd: what it cost; by default GPU-seconds at the price that was kept when it was submitted.
        error_code: of what failed.
        reason: why it was lost, in words.

    Raises:
        JobError: `job.unknown_run`.
    """
    if not state.ended:
        raise ValueError(f"{state} is not a final state")
    with database.write() as session:
        row = _locked(session, key)
        if row.ended_at is None:
            row.state, row.ended_at = state.value, at
        row.error_code = row.error_code or error_code
        row.reason = row.reason or reason
        if row.gpu_s is None:
            row.gpu_s = gpu_s if gpu_s is not None or row.started_at is None else _seconds(row)
        if row.cost_usd is None:
            row.cost_usd = _cost(row) if cost_usd is None else whole_micros(cost_usd)
        session.flush()
        return _run(row)


def runs_of(database: Database, job_id: str) -> list[Run]:
    """All runs of a job, by attempt and time."""
    with database.read() as session:
        statement = select(RunRow).where(RunRow.job_id == job_id)
        order = (RunRow.attempt, RunRow.submitted_at, RunRow.pool, RunRow.part)
        return [_run(row) for row in session.scalars(statement.order_by(*order))]


def open_runs(database: Database, limit: int = 1000) -> list[Run]:
    """Runs that have not ended, the oldest first: to ask Prefect how they ended."""
    with database.read() as session:
        states = (RunState.SUBMITTED.value, RunState.RUNNING.value)
        statement = select(RunRow).where(RunRow.state.in_(states)).order_by(RunRow.submitted_at).limit(limit)
        return [_run(row) for row in session.scalars(statement)]


def _locked(session: Session, key: RunKey) -> RunRow:
    statement = select(RunRow).where(*(getattr(RunRow, name) == value for name, value in key.model_dump().items()))
    row = session.scalars(statement.with_for_update()).one_or_none()
    if row is None:
        raise JobError(
            "job.unknown_run",
            f"No run of attempt {key.attempt} of job {key.job_id} on {key.pool} {key.part}".rstrip() + " is known.",
            "Record its submission first.",
        )
    return row


def _seconds(row: RunRow) -> float | None:
    if row.started_at is None or row.ended_at is None:
        return None
    return max(0.0, (row.ended_at - row.started_at).total_seconds())


def _cost(row: RunRow) -> Decimal | None:
    if row.gpu_s is None or row.price_usd_per_gpu_hour is None:
        return None
    return whole_micros(Decimal(repr(row.gpu_s)) / 3600 * row.price_usd_per_gpu_hour)


def _run(row: RunRow) -> Run:
    return Run.model_validate({name: getattr(row, name) for name in Run.model_fields})
