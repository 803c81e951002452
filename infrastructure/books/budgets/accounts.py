"""What callers of the budgets get, and the rules for months and amounts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.database.money import MAX_USD, whole_micros
from faceflow.job import FrozenModel

if TYPE_CHECKING:
    from faceflow.infrastructure.books.database.schema import ReservationRow

_MONTH = re.compile(r"[2-9]\d{3}-(0[1-9]|1[0-2])")


class ReservationState(StrEnum):
    """What became of reserved money."""

    RESERVED = "reserved"
    SETTLED = "settled"
    """Spent; what was reserved beyond that is free again."""
    RELEASED = "released"
    """Free again as a whole."""


class Reservation(FrozenModel):
    """Money of one attempt of a job, or of a micro-batch of `count` jobs."""

    project: str
    job_id: str
    attempt: int
    count: int
    month: str
    """The calendar month (UTC) whose budget it is taken from: that of the moment when it was reserved."""
    state: ReservationState
    amount_usd: Decimal
    spent_usd: Decimal | None
    """None until it is settled."""
    approved_usd: Decimal
    """Part of it that is beyond the budget, because somebody approved it."""
    assumed: bool
    """Whether `spent_usd` comes from reconciliation; a later `settle` with the true amount replaces it."""
    made_at: datetime
    lease_until: datetime
    ended_at: datetime | None
    why: str

    @classmethod
    def of(cls, row: ReservationRow) -> Reservation:
        """From its row."""
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class Standing(FrozenModel):
    """Where a project stands in a month, US dollars."""

    project: str
    month: str
    limit_usd: Decimal | None
    """None: no budget, so no limit."""
    standing: bool
    """Whether the limit is the one for every month."""
    reserved_usd: Decimal
    spent_usd: Decimal
    approved_usd: Decimal
    """Part of reserved and spent that was approved beyond the budget."""

    @property
    def left_usd(self) -> Decimal | None:
        """What can still be reserved. Negative where runs cost more than was reserved, or the budget was lowered."""
        if self.limit_usd is None:
            return None
        return self.limit_usd - (self.reserved_usd + self.spent_usd - self.approved_usd)


def month_of(moment: datetime) -> str:
    """The calendar month in UTC, as `2026-12`."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a UTC offset")
    return moment.astimezone(UTC).strftime("%Y-%m")


def known_month(month: str) -> str:
    """The month, when it is one.

    Raises:
        BudgetError: `budget.month_invalid`.
    """
    if not _MONTH.fullmatch(month):
        raise BudgetError(
            "budget.month_invalid", f"{month!r} is not a month.", "Write the year and month, such as 2026-12."
        )
    return month


def moment_in(month: str) -> datetime:
    """The first moment of a month.

    Raises:
        BudgetError: `budget.month_invalid`.
    """
    year, number = known_month(month).split("-")
    return datetime(int(year), int(number), 1, tzinfo=UTC)


def exact_usd(amount_usd: Decimal, what: str) -> Decimal:
    """An amount as it is booked: rounded up to a millionth of a dollar.

    Raises:
        BudgetError: `budget.amount_invalid` for what is no number, negative, or above a billion dollars.
    """
    try:
        return whole_micros(amount_usd)
    except (ValueError, ArithmeticError, TypeError) as error:
        raise BudgetError(
            "budget.amount_invalid",
            f"The {what} cannot be {amount_usd} US dollars.",
            f"Use a number from 0 to {MAX_USD:,}.",
        ) from error


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)
