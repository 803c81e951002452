"""How much a job may take: its own limit, its project's budget, and what a person approved beyond them.

An approval is for one job. It raises that job's own limit, and lets it, and nobody else, go beyond what the project has
left. The part of a reservation that is beyond the budget is remembered as approved, so that the budget's own room is
not eaten up by it:

    room of a job = limit - (reserved + spent - approved) + what is left of its approvals
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.budgets.accounts import ReservationState
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.database.schema import STANDING, AccountRow, ApprovalRow, BudgetRow, ReservationRow

NOTHING = Decimal("0.000000")


def budget_of(session: Session, project: str, month: str) -> tuple[Decimal | None, bool]:
    """The limit of a project in a month (None: there is none), and whether it is the standing one."""
    statement = select(BudgetRow.month, BudgetRow.limit_usd).where(
        BudgetRow.project == project, BudgetRow.month.in_((month, STANDING))
    )
    limits: dict[str, Decimal] = {row.month: row.limit_usd for row in session.execute(statement)}
    if month in limits:
        return limits[month], False
    return limits.get(STANDING), STANDING in limits


def approved(session: Session, job_id: str) -> Decimal:
    """All that was approved for a job."""
    extras = session.scalars(select(ApprovalRow.extra_usd).where(ApprovalRow.job_id == job_id))
    return sum(extras, NOTHING)


def approval_left(session: Session, job_id: str, but_attempt: int | None = None) -> Decimal:
    """What is left of a job's approvals, not counting what one attempt took of them."""
    used = sum((row.approved_usd for row in _attempts(session, job_id, but_attempt)), NOTHING)
    return approved(session, job_id) - used


def committed(session: Session, job_id: str, but_attempt: int | None = None) -> Decimal:
    """What a job's attempts have spent, or have reserved and may spend."""
    return sum((held_by(row) for row in _attempts(session, job_id, but_attempt)), NOTHING)


def held_by(row: ReservationRow) -> Decimal:
    """What a reservation keeps from others."""
    if row.state == ReservationState.RESERVED:
        return row.amount_usd
    return row.spent_usd or NOTHING


def require_job_limit(
    session: Session, job_id: str, attempt: int, amount: Decimal, limit: Decimal | None, count: int
) -> None:
    """Whether an attempt fits into what the job may cost, after its other attempts.

    Raises:
        BudgetError: `budget.job_limit`.
    """
    if limit is None:
        return
    left = limit * count + approved(session, job_id) - committed(session, job_id, attempt)
    if amount > left:
        raise BudgetError(
            "budget.job_limit",
            f"Attempt {attempt} of job {job_id} needs {amount} USD, but the job may only spend {left} USD more.",
            "Raise the job's budget, have a higher amount approved, or choose a cheaper pool.",
            job_id=job_id,
            amount_usd=str(amount),
            left_usd=str(left),
        )


def approved_part(session: Session, account: AccountRow, job_id: str, attempt: int, amount: Decimal) -> Decimal:
    """Takes an attempt's amount from the budget, and says which part of it only an approval allows.

    Raises:
        BudgetError: `budget.exhausted`.
    """
    limit, _ = budget_of(session, account.project, account.month)
    if limit is None:
        return NOTHING
    left = limit - (account.reserved_usd + account.spent_usd - account.approved_usd)
    beyond = max(NOTHING, amount - max(left, NOTHING))
    extra = approval_left(session, job_id, attempt)
    if beyond > extra:
        raise BudgetError(
            "budget.exhausted",
            f"Project {account.project} has {left} USD left in {account.month}, but job {job_id} needs {amount} USD.",
            "Raise the budget (`faceflow budget set`), approve the job, or wait for the next month.",
            project=account.project,
            month=account.month,
            job_id=job_id,
            amount_usd=str(amount),
            left_usd=str(left),
            approved_usd=str(extra),
        )
    return beyond


def _attempts(session: Session, job_id: str, but_attempt: int | None) -> list[ReservationRow]:
    rows = session.scalars(select(ReservationRow).where(ReservationRow.job_id == job_id))
    return [row for row in rows if row.attempt != but_attempt]
