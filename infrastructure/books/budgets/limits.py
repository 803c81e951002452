"""Budgets of projects: setting them, and what is left.

A budget is for a calendar month in UTC, or standing: for every month that has none of its own. Setting one changes
nothing that is reserved. A budget that is lowered below what is reserved and spent lets what was begun end, and nothing
new begin; what is left is then negative. What is left at the end of a month is not carried over.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.budgets.accounts import Standing, exact_usd, known_month, month_of, utc_now
from faceflow.infrastructure.books.budgets.rooms import NOTHING, approval_left, budget_of
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_or_update
from faceflow.infrastructure.books.database.schema import STANDING, AccountRow, BudgetRow


def set_limit(
    database: Database,
    project: str,
    limit_usd: Decimal,
    month: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Standing:
    """Sets what a project may spend in a month; without a month, in every month that has no budget of its own.

    Returns where the project stands: in that month, or in the present one.

    Raises:
        BudgetError: `budget.amount_invalid`, `budget.month_invalid`.
    """
    limit = exact_usd(limit_usd, "budget")
    kept = STANDING if month is None else known_month(month)
    now = clock()
    with database.write() as session:
        values = {"project": project, "month": kept, "limit_usd": limit, "changed_at": now}
        session.execute(insert_or_update(session, BudgetRow, values, ("project", "month")))
        return _standing(session, project, month or month_of(now))


def remove_limit(database: Database, project: str, month: str | None = None) -> bool:
    """Takes a budget away, so that the standing one holds, or none. Returns whether there was one."""
    kept = STANDING if month is None else known_month(month)
    with database.write() as session:
        statement = delete(BudgetRow).where(BudgetRow.project == project, BudgetRow.month == kept)
        return session.execute(statement.returning(BudgetRow.month)).first() is not None


def standing(database: Database, project: str, at: datetime) -> Standing:
    """Where a project stands in the month of a moment."""
    with database.read() as session:
        return _standing(session, project, month_of(at))


def standings(database: Database, month: str) -> list[Standing]:
    """Where every project stands that has a budget or an account in that month, by name."""
    known_month(month)
    with database.read() as session:
        names = set(session.scalars(select(BudgetRow.project).where(BudgetRow.month.in_((month, STANDING)))))
        names |= set(session.scalars(select(AccountRow.project).where(AccountRow.month == month)))
        return [_standing(session, name, month) for name in sorted(names)]


def left_usd(database: Database, project: str, at: datetime, job_id: str | None = None) -> Decimal | None:
    """What the project may still reserve in the month of `at`, US dollars; None where it has no budget.

    With `job_id`, what was approved for that job beyond the budget is counted in. This is `budget_left_usd` of the
    routing snapshot. It may be negative.
    """
    with database.read() as session:
        left = _standing(session, project, month_of(at)).left_usd
        if left is None or job_id is None:
            return left
        return left + approval_left(session, job_id)


def _standing(session: Session, project: str, month: str) -> Standing:
    limit, is_standing = budget_of(session, project, month)
    account = session.get(AccountRow, (project, month))
    return Standing(
        project=project,
        month=month,
        limit_usd=limit,
        standing=is_standing,
        reserved_usd=account.reserved_usd if account else NOTHING,
        spent_usd=account.spent_usd if account else NOTHING,
        approved_usd=account.approved_usd if account else NOTHING,
    )
