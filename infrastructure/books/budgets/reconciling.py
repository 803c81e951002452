"""What a crash left behind: money that is reserved, and nobody is there to settle it.

Any process may do this, at any time, and several at once; each reservation is ended once.

| The runs of the attempt | What happens |
|---|---|
| all ended, a while ago | settled with what they cost; where nobody knows that of one, with all that was reserved |
| some not ended, lease over | settled with all that was reserved: they may have spent it |
| none was ever submitted, lease over | released |

A settlement from here is marked as assumed, and gives way to the true amount should somebody still tell it. Whoever
follows runs (Prefect's states) keeps `runs` true and renews the leases of those that are alive.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select, tuple_

from faceflow.infrastructure.books.book_settings import BudgetSettings
from faceflow.infrastructure.books.budgets.accounts import Reservation, ReservationState
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.budgets.rooms import NOTHING
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.schema import ReservationRow, RunRow

_PAGE = 500

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was ended."""

    settled: tuple[Reservation, ...]
    released: tuple[Reservation, ...]


def reconcile(database: Database, settings: BudgetSettings, now: datetime) -> Reconciled:
    """Ends every reservation whose attempt is over or lost. Doing it again changes nothing."""
    budgets = Budgets(database, settings, clock=lambda: now)
    settled: list[Reservation] = []
    released: list[Reservation] = []
    last: Key = ("", 0)
    while page := _open_reservations(database, last):
        runs = _runs(database, [(row.job_id, row.attempt) for row in page])
        for row in page:
            key = last = (row.job_id, row.attempt)
            cost = _cost(row, runs[key], now, settings)
            if cost is not None:
                settled.append(budgets.settle(*key, cost, assumed=True))
            elif not runs[key] and row.lease_until < now:
                released.append(budgets.release(*key, "nothing was started before its lease ended"))
    return Reconciled(tuple(settled), tuple(released))


def _cost(row: ReservationRow, runs: list[RunRow], now: datetime, settings: BudgetSettings) -> Decimal | None:
    """What the attempt cost; None while that cannot or need not be told yet."""
    if not runs:
        return None
    ends = [run.ended_at for run in runs if run.ended_at is not None]
    if len(ends) < len(runs):
        return row.amount_usd if row.lease_until < now else None
    if max(ends) + timedelta(seconds=settings.settle_after_s) > now:
        return None
    costs = [run.cost_usd for run in runs]
    known = sum((cost for cost in costs if cost is not None), NOTHING)
    return known if None not in costs else max(known, row.amount_usd)


def _open_reservations(database: Database, after: Key) -> list[ReservationRow]:
    """The next page of those that are reserved, by job and attempt."""
    with database.read() as session:
        statement = (
            select(ReservationRow)
            .where(
                ReservationRow.state == ReservationState.RESERVED,
                tuple_(ReservationRow.job_id, ReservationRow.attempt) > after,
            )
            .order_by(ReservationRow.job_id, ReservationRow.attempt)
            .limit(_PAGE)
        )
        return list(session.scalars(statement))


def _runs(database: Database, keys: list[Key]) -> dict[Key, list[RunRow]]:
    found: dict[Key, list[RunRow]] = defaultdict(list)
    with database.read() as session:
        for run in session.scalars(select(RunRow).where(tuple_(RunRow.job_id, RunRow.attempt).in_(keys))):
            found[run.job_id, run.attempt].append(run)
    return found
