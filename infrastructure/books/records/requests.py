"""Requests that came to the dispatcher: what was asked for, which attempt is on its way, and what became of it.

    new ─▶ placing ─▶ placed ─▶ done | failed | cancelled
     │        ▲          │
     ├─▶ held ┤          └─ lost: placing, attempt + 1
     ├─▶ approval
     └─▶ refused

Only a process that saw a row's last version can change it, so two dispatchers never place one job twice. An attempt is
written down with its decision before anything is started (`placing`); should its dispatcher die there, the next one
starts exactly that.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, update

from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_if_absent
from faceflow.infrastructure.books.database.schema import RequestRow
from faceflow.infrastructure.routing.decision import Decision
from faceflow.job import FrozenModel, SwapJob


class RequestState(StrEnum):
    """How far a request came."""

    NEW = "new"
    HELD = "held"
    """Sent nowhere for now; looked at again when signals or budgets change."""
    APPROVAL = "approval"
    """More than the budget holds: a person is asked."""
    PLACING = "placing"
    """An attempt is decided and written down, and its runs are being started."""
    PLACED = "placed"
    """Its runs are known to Prefect."""
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing follows by itself."""
        return self in {RequestState.DONE, RequestState.FAILED, RequestState.REFUSED, RequestState.CANCELLED}


class Request(FrozenModel):
    """A request as it is known.

    Attributes:
        known: what the caller knew of the media, JSON.
        attempt: number of the attempt that is, or was last, on its way; 0 before the first.
        decision: of that attempt, or why there is none.
    """

    job_id: str
    project: str
    job: SwapJob
    known: str
    state: RequestState
    attempt: int
    decision: Decision | None
    reason: str
    made_at: datetime
    changed_at: datetime
    version: int


def remember(database: Database, job_id: str, job: SwapJob, known: str, at: datetime) -> Request:
    """The request of that id; made where there is none. What was asked for first stays."""
    values = {
        "job_id": job_id,
        "project": job.project,
        "job": job.model_dump_json(),
        "known": known,
        "state": RequestState.NEW.value,
        "attempt": 0,
        "decision": None,
        "reason": "",
        "made_at": at,
        "changed_at": at,
        "version": 1,
    }
    with database.write() as session:
        session.execute(insert_if_absent(session, RequestRow, values, ("job_id",)))
        return _request(session.scalars(select(RequestRow).where(RequestRow.job_id == job_id)).one())


def change(
    database: Database,
    seen: Request,
    state: RequestState,
    at: datetime,
    *,
    attempt: int | None = None,
    decision: Decision | None = None,
    reason: str = "",
) -> Request | None:
    """Brings a request further, as it was seen; None where somebody else changed it meanwhile.

    The decision stays as it was unless another is given.
    """
    kept = decision or seen.decision
    values = {
        "state": state.value,
        "attempt": seen.attempt if attempt is None else attempt,
        "decision": None if kept is None else kept.model_dump_json(),
        "reason": reason,
        "changed_at": at,
        "version": seen.version + 1,
    }
    with database.write() as session:
        statement = (
            update(RequestRow)
            .where(RequestRow.job_id == seen.job_id, RequestRow.version == seen.version)
            .values(**values)
            .returning(RequestRow)
        )
        row = session.scalars(statement).one_or_none()
        return None if row is None else _request(row)


def find_request(database: Database, job_id: str) -> Request | None:
    """The request of that id."""
    with database.read() as session:
        row = session.get(RequestRow, job_id)
        return None if row is None else _request(row)


def requests_in(database: Database, *states: RequestState, limit: int = 1000) -> list[Request]:
    """Requests in one of these states, those that changed longest ago first."""
    with database.read() as session:
        wanted = [state.value for state in states]
        statement = select(RequestRow).where(RequestRow.state.in_(wanted)).order_by(RequestRow.changed_at).limit(limit)
        return [_request(row) for row in session.scalars(statement)]


def _request(row: RequestRow) -> Request:
    return Request(
        job_id=row.job_id,
        project=row.project,
        job=SwapJob.model_validate_json(row.job),
        known=row.known,
        state=RequestState(row.state),
        attempt=row.attempt,
        decision=None if row.decision is None else Decision.model_validate_json(row.decision),
        reason=row.reason,
        made_at=row.made_at,
        changed_at=row.changed_at,
        version=row.version,
    )
