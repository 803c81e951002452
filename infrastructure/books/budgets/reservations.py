"""Reserve, settle, release: each counts once for a job and attempt, however often and by however many processes it is
reported.

| told again | gives |
|---|---|
| `reserve`, the same | the same reservation, whatever has become of it |
| `reserve` of other money | `budget.contradiction`; after `release` it is a new reservation |
| `settle`, the same | the same |
| `settle` of another amount | `budget.contradiction`; a sum that reconciliation assumed gives way to the true one |
| `settle` after `release` | booked: money that was spent is spent |
| `release` again, or after `settle` | nothing more; the reservation as it is |

Money counts in the month in which it was reserved, also when the run ends in the next one. A run that cost more than
was reserved is booked as it was; the budget may then be overdrawn by that, and lets nothing new begin.

Locks are taken in one order, account before reservation, so that no two wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.book_settings import BudgetSettings
from faceflow.infrastructure.books.budgets.accounts import Reservation, ReservationState, exact_usd, month_of, utc_now
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.rooms import NOTHING, approved_part, held_by, require_job_limit
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.insert import insert_if_absent
from faceflow.infrastructure.books.database.schema import AccountRow, ReservationRow


class Budgets:
    """The books. Safe to use from any number of threads, processes and machines at once.

    Args:
        database: where they are kept.
        settings: how long a reservation lives without news.
        clock: what says which month it is.
    """

    def __init__(
        self, database: Database, settings: BudgetSettings | None = None, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._settings = settings or BudgetSettings()
        self._clock = clock

    def reserve(
        self,
        project: str,
        job_id: str,
        attempt: int,
        amount_usd: Decimal,
        *,
        count: int = 1,
        job_limit_usd: Decimal | None = None,
        lease_s: float | None = None,
    ) -> Reservation:
        """Takes money aside for one attempt of a job, or of a micro-batch.

        Args:
            project: whose budget it is taken from. Without a budget it is booked all the same.
            job_id: names the job or micro-batch.
            attempt: from 1.
            amount_usd: for all `count` jobs together; rounded up to a millionth.
            count: jobs that it stands for.
            job_limit_usd: what one job may cost, over all its attempts.
            lease_s: after this long without news the money may be given back; by default as the settings say.

        Raises:
            BudgetError: `budget.exhausted` or `budget.job_limit`: nothing is reserved;
                `budget.contradiction`, `budget.amount_invalid`.
        """
        amount = exact_usd(amount_usd, "amount to reserve")
        limit = None if job_limit_usd is None else exact_usd(job_limit_usd, "limit of the job")
        _require_counts(attempt, count)
        lease = timedelta(seconds=self._settings.lease_s if lease_s is None else lease_s)
        asked = (project, job_id, attempt, count, amount)
        try:
            return self._reserve(*asked, limit, lease)
        except IntegrityError:
            # Another process reserved the same attempt from another account in this very moment: now it is there.
            return self._reserve(*asked, limit, lease)

    def _reserve(
        self,
        project: str,
        job_id: str,
        attempt: int,
        count: int,
        amount: Decimal,
        limit: Decimal | None,
        lease: timedelta,
    ) -> Reservation:
        with self._database.write() as session:
            now = self._clock()
            account = _locked_account(session, project, month_of(now))
            row = _locked_row(session, job_id, attempt)
            if row is not None and row.state != ReservationState.RELEASED:
                return _same(row, project, count, amount)
            require_job_limit(session, job_id, attempt, amount, limit, count)
            beyond = approved_part(session, account, job_id, attempt, amount)
            if row is None:
                row = ReservationRow(job_id=job_id, attempt=attempt)
                session.add(row)
            row.project, row.month, row.count = account.project, account.month, count
            row.state, row.amount_usd, row.spent_usd = ReservationState.RESERVED.value, amount, None
            row.approved_usd, row.assumed, row.why = beyond, False, ""
            row.made_at, row.lease_until, row.ended_at = now, now + lease, None
            account.reserved_usd += amount
            account.approved_usd += beyond
            session.flush()
            return Reservation.of(row)

    def settle(self, job_id: str, attempt: int, spent_usd: Decimal, *, assumed: bool = False) -> Reservation:
        """Books what an attempt cost and frees the rest.

        `assumed` says that the sum is what reconciliation takes for likely: it never replaces what was told.

        Raises:
            BudgetError: `budget.unknown_reservation`, `budget.contradiction`, `budget.amount_invalid`.
        """
        spent = exact_usd(spent_usd, "amount spent")
        with self._database.write() as session:
            account, row = self._locked(session, job_id, attempt)
            if row.state == ReservationState.SETTLED and (assumed or not row.assumed):
                if assumed or row.spent_usd == spent:
                    return Reservation.of(row)
                raise BudgetError(
                    "budget.contradiction",
                    f"Attempt {attempt} of job {job_id} was settled with {row.spent_usd} USD, now with {spent} USD.",
                    "Settle each attempt once, with its full cost; every further attempt has its own number.",
                )
            _unbook(account, row)
            # The budget's own part is spent first; what was approved beyond it only as far as it was needed.
            row.approved_usd = min(row.approved_usd, max(NOTHING, spent - (row.amount_usd - row.approved_usd)))
            row.state, row.spent_usd, row.assumed = ReservationState.SETTLED.value, spent, assumed
            row.ended_at = self._clock()
            account.spent_usd += spent
            account.approved_usd += row.approved_usd
            session.flush()
            return Reservation.of(row)

    def release(self, job_id: str, attempt: int, why: str) -> Reservation:
        """Gives reserved money back, because the attempt will not run. `why` is kept.

        Raises:
            BudgetError: `budget.unknown_reservation`.
        """
        with self._database.write() as session:
            account, row = self._locked(session, job_id, attempt)
            if row.state == ReservationState.RESERVED:
                _unbook(account, row)
                row.state, row.approved_usd, row.why = ReservationState.RELEASED.value, NOTHING, why
                row.ended_at = self._clock()
                session.flush()
            return Reservation.of(row)

    def renew(self, job_id: str, attempt: int, lease_s: float | None = None) -> Reservation:
        """Says that the attempt is still alive: its money stays reserved for another lease from now.

        Raises:
            BudgetError: `budget.unknown_reservation`.
        """
        lease = timedelta(seconds=self._settings.lease_s if lease_s is None else lease_s)
        with self._database.write() as session:
            _, row = self._locked(session, job_id, attempt)
            if row.state == ReservationState.RESERVED:
                row.lease_until = max(row.lease_until, self._clock() + lease)
                session.flush()
            return Reservation.of(row)

    def of_job(self, job_id: str) -> list[Reservation]:
        """All reservations of a job, by attempt."""
        with self._database.read() as session:
            statement = select(ReservationRow).where(ReservationRow.job_id == job_id).order_by(ReservationRow.attempt)
            return [Reservation.of(row) for row in session.scalars(statement)]

    @staticmethod
    def _locked(session: Session, job_id: str, attempt: int) -> tuple[AccountRow, ReservationRow]:
        """The account and the reservation, both locked, the account first."""
        key = (ReservationRow.job_id == job_id, ReservationRow.attempt == attempt)
        while True:
            found = session.execute(select(ReservationRow.project, ReservationRow.month).where(*key)).first()
            if found is None:
                raise BudgetError(
                    "budget.unknown_reservation",
                    f"Nothing was reserved for attempt {attempt} of job {job_id}.",
                    "Reserve first; `faceflow decision show` lists a job's reservations.",
                )
            account = _locked_account(session, found.project, found.month)
            row = _locked_row(session, job_id, attempt)
            if row is not None and (row.project, row.month) == (account.project, account.month):
                return account, row
            # It was released and reserved anew from another account in between: look again.


def _locked_account(session: Session, project: str, month: str) -> AccountRow:
    values = {
        "project": project,
        "month": month,
        "reserved_usd": NOTHING,
        "spent_usd": NOTHING,
        "approved_usd": NOTHING,
    }
    session.execute(insert_if_absent(session, AccountRow, values, ("project", "month")))
    statement = select(AccountRow).where(AccountRow.project == project, AccountRow.month == month)
    return session.scalars(statement.with_for_update().execution_options(populate_existing=True)).one()


def _locked_row(session: Session, job_id: str, attempt: int) -> ReservationRow | None:
    statement = select(ReservationRow).where(ReservationRow.job_id == job_id, ReservationRow.attempt == attempt)
    return session.scalars(statement.with_for_update().execution_options(populate_existing=True)).one_or_none()


def _unbook(account: AccountRow, row: ReservationRow) -> None:
    """Takes a reservation out of its account's sums."""
    held = held_by(row)
    if row.state == ReservationState.RESERVED:
        account.reserved_usd -= held
    else:
        account.spent_usd -= held
    account.approved_usd -= row.approved_usd


def _same(row: ReservationRow, project: str, count: int, amount: Decimal) -> Reservation:
    if (row.project, row.count, row.amount_usd) != (project, count, amount):
        raise BudgetError(
            "budget.contradiction",
            f"Attempt {row.attempt} of job {row.job_id} has reserved {row.amount_usd} USD for {row.count} jobs of "
            f"{row.project}, now {amount} USD for {count} jobs of {project}.",
            "Release it first, or use the next attempt number.",
        )
    return Reservation.of(row)


def _require_counts(attempt: int, count: int) -> None:
    if attempt < 1 or count < 1:
        raise BudgetError(
            "budget.contradiction",
            f"Attempt and job count start at 1 (got attempt {attempt} and {count} jobs).",
            "Use 1 or more for both.",
        )
