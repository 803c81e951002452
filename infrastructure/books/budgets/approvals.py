"""A person allows a job more than the budgets say; who, how much and why is kept.

`rooms` says what an approval does. Telling the same act twice (`key`: say, the flow run whose form was filled in)
counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select

from faceflow.infrastructure.books.budgets.accounts import exact_usd, utc_now
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.rooms import approved, committed
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_if_absent
from faceflow.infrastructure.books.database.schema import ApprovalRow
from faceflow.job import FrozenModel


class Approval(FrozenModel):
    """Somebody allowed a job, or all jobs of a micro-batch together, `extra_usd` beyond its budgets."""

    key: str
    job_id: str
    project: str
    extra_usd: Decimal
    allowed_by: str
    why: str
    allowed_at: datetime


def approve(
    database: Database,
    project: str,
    job_id: str,
    extra_usd: Decimal,
    allowed_by: str,
    *,
    key: str,
    why: str = "",
    clock: Callable[[], datetime] = utc_now,
) -> Approval:
    """Keeps an approval and returns it; the same `key` again returns the first one.

    Raises:
        BudgetError: `budget.amount_invalid` for an amount that is no number or not above 0; `budget.contradiction` for
            another amount or job with the same key.
    """
    extra = exact_usd(extra_usd, "approved amount")
    if not extra:
        raise BudgetError("budget.amount_invalid", "The approved amount must be above 0.", "Enter an amount above 0.")
    with database.write() as session:
        values = {
            "key": key,
            "job_id": job_id,
            "project": project,
            "extra_usd": extra,
            "allowed_by": allowed_by,
            "why": why,
            "allowed_at": clock(),
        }
        session.execute(insert_if_absent(session, ApprovalRow, values, ("key",)))
        row = session.scalars(select(ApprovalRow).where(ApprovalRow.key == key)).one()
        if (row.job_id, row.project, row.extra_usd) != (job_id, project, extra):
            raise BudgetError(
                "budget.contradiction",
                f"The approval {key!r} already allowed {row.extra_usd} USD for job {row.job_id}; it cannot allow "
                f"{extra} USD for {job_id} too.",
                "Use a new key for each approval.",
            )
        return _approval(row)


def approvals(database: Database, job_id: str) -> list[Approval]:
    """All approvals of a job, the oldest first."""
    with database.read() as session:
        statement = select(ApprovalRow).where(ApprovalRow.job_id == job_id).order_by(ApprovalRow.number)
        return [_approval(row) for row in session.scalars(statement)]


def job_left_usd(database: Database, job_id: str, limit_usd: Decimal, count: int = 1) -> Decimal:
    """What all `count` jobs may still spend together: limit and approvals, less what earlier attempts took.

    A later attempt is decided with this, divided by `count`, as its `budget_usd`.
    """
    with database.read() as session:
        return limit_usd * count + approved(session, job_id) - committed(session, job_id)


def _approval(row: ApprovalRow) -> Approval:
    return Approval.model_validate({name: getattr(row, name) for name in Approval.model_fields})
