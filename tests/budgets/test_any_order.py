"""Whatever happens in whatever order: never over budget, and the running sums are the sums."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, select

from faceflow.infrastructure.books.book_settings import BudgetSettings
from faceflow.infrastructure.books.budgets.accounts import Reservation, ReservationState, month_of
from faceflow.infrastructure.books.budgets.approvals import approve
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.limits import set_limit, standings
from faceflow.infrastructure.books.budgets.reconciling import reconcile
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.schema import Base, ReservationRow

PROJECTS = st.sampled_from(["film", "greetings"])
JOBS = st.sampled_from(["a", "b", "c", "d"])
ATTEMPTS = st.integers(1, 2)
MONEY = st.integers(0, 6_000_000).map(lambda micros: Decimal(micros).scaleb(-6))


class Books(RuleBasedStateMachine):
    """Two projects, four jobs, two attempts each, and time that goes on."""

    database: Database

    @initialize()
    def begin(self):
        with self.database.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))
        self.now = datetime(2026, 12, 30, tzinfo=UTC)
        self.settings = BudgetSettings(lease_s=6 * 3600)
        self.budgets = Budgets(self.database, self.settings, clock=lambda: self.now)
        self.limits = {}
        self.approved = {}
        self.acts = 0
        self.last = {}

    @rule(project=PROJECTS, amount=MONEY)
    def set_budget(self, project, amount):
        self.limits[project] = amount
        set_limit(self.database, project, amount, clock=lambda: self.now)

    @rule(project=PROJECTS, job=JOBS, amount=MONEY)
    def allow(self, project, job, amount):
        if amount:
            self.acts += 1
            approve(self.database, project, job, amount, "ann", key=str(self.acts))
            self.approved[job] = self.approved.get(job, Decimal(0)) + amount

    @rule(project=PROJECTS, job=JOBS, attempt=ATTEMPTS, amount=MONEY)
    def reserve(self, project, job, attempt, amount):
        before = self.rows()
        key = (job, attempt)
        month = month_of(self.now)
        try:
            got = self.budgets.reserve(project, job, attempt, amount)
        except BudgetError as error:
            assert self.rows() == before
            if error.code == "budget.exhausted":
                room = self.limits[project] - self.taken(before.values(), project, month)
                unused = self.approved.get(job, 0) - sum(
                    row.approved_usd for row in before.values() if row.job_id == job and row.attempt != attempt
                )
                assert amount > max(room, 0) + unused
            else:
                assert error.code == "budget.contradiction"
                assert (before[key].project, before[key].amount_usd) != (project, amount)
            return
        held = before.get(key)
        if held is not None and held.state != ReservationState.RELEASED:
            assert got == held
            return
        assert (got.state, got.amount_usd, got.month) == (ReservationState.RESERVED, amount, month)
        if project in self.limits:
            # Not over budget: what this one takes beyond its approval fits into what was left.
            left = self.limits[project] - self.taken(before.values(), project, month)
            assert amount - got.approved_usd <= max(left, 0)

    @rule(job=JOBS, attempt=ATTEMPTS, spent=MONEY, assumed=st.booleans())
    def settle(self, job, attempt, spent, assumed):
        before = self.rows().get((job, attempt))
        try:
            got = self.budgets.settle(job, attempt, spent, assumed=assumed)
        except BudgetError as error:
            expected = "budget.unknown_reservation" if before is None else "budget.contradiction"
            assert error.code == expected
            return
        assert got.state is ReservationState.SETTLED
        kept = before.state == ReservationState.SETTLED and (assumed or not before.assumed)
        assert got.spent_usd == (before.spent_usd if kept else spent)

    @rule(job=JOBS, attempt=ATTEMPTS)
    def release(self, job, attempt):
        before = self.rows().get((job, attempt))
        try:
            got = self.budgets.release(job, attempt, "no need")
        except BudgetError as error:
            assert (error.code, before) == ("budget.unknown_reservation", None)
            return
        assert got.state == (before.state if before.state != "reserved" else "released")

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)

    @rule()
    def somebody_reconciles(self):
        overdue = {key for key, row in self.rows().items() if row.state == "reserved" and row.lease_until < self.now}
        ended = reconcile(self.database, self.settings, self.now)
        assert {(one.job_id, one.attempt) for one in ended.released} == overdue
        assert reconcile(self.database, self.settings, self.now).released == ()

    @invariant()
    def sums_are_right(self):
        rows = self.rows().values()
        for month in {row.month for row in rows}:
            for found in standings(self.database, month):
                mine = [row for row in rows if (row.project, row.month) == (found.project, month)]
                assert found.reserved_usd == sum(row.amount_usd for row in mine if row.state == "reserved")
                assert found.spent_usd == sum(row.spent_usd or 0 for row in mine)
                assert found.approved_usd == sum(row.approved_usd for row in mine)
                assert all(row.approved_usd == 0 for row in mine if row.state == "released")

    @invariant()
    def approvals_are_not_exceeded(self):
        rows = self.rows().values()
        for job in {row.job_id for row in rows}:
            assert sum(row.approved_usd for row in rows if row.job_id == job) <= self.approved.get(job, 0)

    def rows(self):
        with self.database.read() as session:
            found = [Reservation.of(row) for row in session.scalars(select(ReservationRow))]
            return {(one.job_id, one.attempt): one for one in found}

    @staticmethod
    def taken(rows, project, month):
        mine = [row for row in rows if (row.project, row.month) == (project, month)]
        held = sum(row.amount_usd if row.state == "reserved" else row.spent_usd or Decimal(0) for row in mine)
        return held - sum(row.approved_usd for row in mine)


def test_whatever_happens(database):
    machine = type("Books", (Books,), {"database": database})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )


@pytest.mark.full
def test_whatever_happens_for_long(database):
    machine = type("Books", (Books,), {"database": database})
    run_state_machine_as_test(machine, settings=settings(max_examples=300, stateful_step_count=50, deadline=None))
