"""Forgetting a job or a project, on request.

Requests, decisions, runs, approvals and rows of campaigns go. What was spent stays in the books, under a name that
leads nowhere: the money was spent, and the sums of a month do not change afterwards. With a whole project its books go
too.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import CursorResult, Delete, Select, Update, delete, select, update
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.budgets.accounts import ReservationState
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.schema import (
    AccountRow,
    ApprovalRow,
    BudgetRow,
    CampaignJobRow,
    CampaignRow,
    DecisionRow,
    RequestRow,
    ReservationRow,
    RunRow,
)

_AboutJob = type[DecisionRow] | type[RunRow] | type[ApprovalRow] | type[RequestRow]
_ABOUT_JOBS: tuple[_AboutJob, ...] = (DecisionRow, RunRow, ApprovalRow, RequestRow)


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows of which tables are gone (`decisions`, `runs`, `approvals`, ...)."""

    rows: dict[str, int]

    @classmethod
    def of(cls, rows: dict[str, int]) -> Erased:
        """Without the tables that held none."""
        return cls({table: count for table, count in rows.items() if count})


def erase_job(database: Database, job_id: str) -> Erased:
    """Forgets a job, which may be one of a campaign.

    Raises:
        BudgetError: `budget.still_reserved` while one of its attempts, or its batch, holds money.
    """
    with database.write() as session:
        _require_settled(session, ReservationRow.job_id == job_id, f"job {job_id}")
        _require_settled(session, ReservationRow.job_id.in_(_batches_of(job_id)), f"the batch of job {job_id}")
        rows = {
            table.__tablename__: _count(session, delete(table).where(table.job_id == job_id)) for table in _ABOUT_JOBS
        }
        forgotten = delete(CampaignJobRow).where(CampaignJobRow.name == job_id)
        rows[CampaignJobRow.__tablename__] = _count(session, forgotten)
        nameless = f"erased-{secrets.token_hex(8)}"
        renamed = update(ReservationRow).where(ReservationRow.job_id == job_id).values(job_id=nameless, why="")
        rows["reservations"] = _count(session, renamed)
        return Erased.of(rows)


def erase_project(database: Database, project: str) -> Erased:
    """Forgets all jobs of a project, its budgets and its books.

    Raises:
        BudgetError: `budget.still_reserved` while one of its jobs holds money.
    """
    with database.write() as session:
        _require_settled(session, ReservationRow.project == project, f"project {project}")
        tables = (*_ABOUT_JOBS, CampaignJobRow, ReservationRow, AccountRow, BudgetRow)
        rows = {table.__tablename__: _count(session, delete(table).where(table.project == project)) for table in tables}
        empty = CampaignRow.name.not_in(select(CampaignJobRow.campaign))
        rows[CampaignRow.__tablename__] = _count(session, delete(CampaignRow).where(empty))
        return Erased.of(rows)


def _batches_of(name: str) -> Select[tuple[str | None]]:
    return select(CampaignJobRow.batch).where(CampaignJobRow.name == name, CampaignJobRow.batch.is_not(None))


def _require_settled(session: Session, which: object, what: str) -> None:
    statement = select(ReservationRow.job_id).where(which, ReservationRow.state == ReservationState.RESERVED).limit(1)  # type: ignore[arg-type]
    job_id = session.scalar(statement)
    if job_id is not None:
        raise BudgetError(
            "budget.still_reserved",
            f"Money is reserved for {what} (job {job_id}), so its records cannot be erased yet.",
            "Wait for the run to end, or cancel it, then try again.",
        )


def _count(session: Session, statement: Delete | Update) -> int:
    result = session.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0
