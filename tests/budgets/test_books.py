"""What counts, when, and against which budget; each thing told twice counts once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from faceflow.infrastructure.books.book_settings import BudgetSettings
from faceflow.infrastructure.books.budgets.accounts import ReservationState
from faceflow.infrastructure.books.budgets.approvals import approvals, approve, job_left_usd
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.limits import left_usd, remove_limit, set_limit, standing, standings
from faceflow.infrastructure.books.budgets.reservations import Budgets

DECEMBER = datetime(2026, 12, 5, 12, tzinfo=UTC)
JANUARY = datetime(2027, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that shows what the test says."""

    def __init__(self, now=DECEMBER):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budgets(database, clock):
    return Budgets(database, BudgetSettings(lease_s=3600), clock=clock)


def code(raised):
    return raised.value.code


def test_the_usual_way(database, budgets):
    set_limit(database, "film", Decimal(10))
    reserved = budgets.reserve("film", "job", 1, Decimal("4.5"), count=50)
    assert (reserved.state, reserved.count, reserved.month) == (ReservationState.RESERVED, 50, "2026-12")
    assert left_usd(database, "film", DECEMBER) == Decimal("5.5")
    settled = budgets.settle("job", 1, Decimal("3.25"))
    assert (settled.state, settled.spent_usd, settled.amount_usd) == (
        ReservationState.SETTLED,
        Decimal("3.25"),
        Decimal("4.5"),
    )
    found = standing(database, "film", DECEMBER)
    assert (found.reserved_usd, found.spent_usd, found.left_usd) == (0, Decimal("3.25"), Decimal("6.75"))


def test_money_is_exact(database, budgets):
    """A hundred times a cent and a millionth: binary fractions do not add up to this."""
    assert sum([0.010001] * 100) != 1.0001
    set_limit(database, "film", Decimal("1.0001"))
    for number in range(100):
        budgets.reserve("film", f"job-{number}", 1, Decimal("0.010001"))
    assert left_usd(database, "film", DECEMBER) == 0
    with pytest.raises(BudgetError) as raised:
        budgets.reserve("film", "one too many", 1, Decimal("0.000001"))
    assert code(raised) == "budget.exhausted"
    assert raised.value.fields["left_usd"] == "0.000000"


@pytest.mark.parametrize("amount", ["-1", "NaN", "sNaN", "Infinity", "1e10"])
def test_amounts_that_cannot_be(database, budgets, amount):
    set_limit(database, "film", Decimal(1))
    budgets.reserve("film", "job", 1, Decimal(1))
    for attempt in (
        lambda: budgets.reserve("film", "other", 1, Decimal(amount)),
        lambda: budgets.reserve("film", "other", 1, Decimal(1), job_limit_usd=Decimal(amount)),
        lambda: budgets.settle("job", 1, Decimal(amount)),
        lambda: set_limit(database, "film", Decimal(amount)),
        lambda: approve(database, "film", "job", Decimal(amount), "ann", key="a"),
    ):
        with pytest.raises(BudgetError) as raised:
            attempt()
        assert code(raised) == "budget.amount_invalid"
    assert standing(database, "film", DECEMBER).reserved_usd == 1


def test_reserving_again_gives_the_same_whatever_became_of_it(database, budgets):
    first = budgets.reserve("film", "job", 1, Decimal(2))
    assert budgets.reserve("film", "job", 1, Decimal(2)) == first
    settled = budgets.settle("job", 1, Decimal(1))
    assert budgets.reserve("film", "job", 1, Decimal(2)) == settled
    assert standing(database, "film", DECEMBER).spent_usd == 1


@pytest.mark.parametrize("other", [{"amount_usd": Decimal(3)}, {"project": "greetings"}, {"count": 2}])
def test_reserving_something_else_under_the_same_name_is_an_error(database, budgets, other):
    asked = {"project": "film", "job_id": "job", "attempt": 1, "amount_usd": Decimal(2), "count": 1}
    budgets.reserve(**asked)
    with pytest.raises(BudgetError) as raised:
        budgets.reserve(**{**asked, **other})
    assert code(raised) == "budget.contradiction"
    assert standing(database, "film", DECEMBER).reserved_usd == 2
    assert standing(database, "greetings", DECEMBER).reserved_usd == 0


def test_settling_again(budgets):
    budgets.reserve("film", "job", 1, Decimal(2))
    first = budgets.settle("job", 1, Decimal(1))
    assert budgets.settle("job", 1, Decimal("1.000")) == first
    with pytest.raises(BudgetError) as raised:
        budgets.settle("job", 1, Decimal(2))
    assert code(raised) == "budget.contradiction"


def test_an_assumed_settlement_gives_way_to_the_true_one_only(database, budgets):
    budgets.reserve("film", "job", 1, Decimal(2))
    assert budgets.settle("job", 1, Decimal(2), assumed=True).assumed
    assert budgets.settle("job", 1, Decimal("1.9"), assumed=True).spent_usd == 2
    true = budgets.settle("job", 1, Decimal("0.5"))
    assert (true.spent_usd, true.assumed) == (Decimal("0.5"), False)
    assert budgets.settle("job", 1, Decimal(2), assumed=True) == true
    assert standing(database, "film", DECEMBER).spent_usd == Decimal("0.5")


def test_released_money_is_there_for_others_and_the_attempt_may_begin_anew(database, budgets):
    set_limit(database, "film", Decimal(2))
    budgets.reserve("film", "job", 1, Decimal(2))
    released = budgets.release("job", 1, "no machine")
    assert (released.state, released.why) == (ReservationState.RELEASED, "no machine")
    assert budgets.release("job", 1, "something else") == released
    budgets.reserve("film", "other", 1, Decimal("1.5"))
    with pytest.raises(BudgetError):
        budgets.reserve("film", "job", 1, Decimal(2))
    anew = budgets.reserve("film", "job", 1, Decimal("0.5"))
    assert (anew.state, anew.amount_usd, anew.why) == (ReservationState.RESERVED, Decimal("0.5"), "")
    assert left_usd(database, "film", DECEMBER) == 0


def test_releasing_what_is_settled_changes_nothing(database, budgets):
    budgets.reserve("film", "job", 1, Decimal(2))
    settled = budgets.settle("job", 1, Decimal(2))
    assert budgets.release("job", 1, "too late") == settled
    assert standing(database, "film", DECEMBER).spent_usd == 2


def test_money_that_was_spent_after_all_is_booked(database, budgets):
    set_limit(database, "film", Decimal(2))
    budgets.reserve("film", "job", 1, Decimal(2))
    budgets.release("job", 1, "its lease was over")
    budgets.settle("job", 1, Decimal(2))
    assert left_usd(database, "film", DECEMBER) == 0


def test_a_run_that_cost_more_is_booked_as_it_was_and_nothing_new_begins(database, budgets):
    set_limit(database, "film", Decimal(2))
    budgets.reserve("film", "job", 1, Decimal(2))
    budgets.settle("job", 1, Decimal(3))
    assert left_usd(database, "film", DECEMBER) == -1
    with pytest.raises(BudgetError) as raised:
        budgets.reserve("film", "other", 1, Decimal("0.000001"))
    assert code(raised) == "budget.exhausted"
    assert budgets.reserve("film", "free", 1, Decimal(0)).state is ReservationState.RESERVED


@pytest.mark.parametrize("call", ["settle", "release", "renew"])
def test_nothing_was_reserved(budgets, call):
    arguments = {"settle": (Decimal(1),), "release": ("why",), "renew": ()}[call]
    with pytest.raises(BudgetError) as raised:
        getattr(budgets, call)("nobody", 1, *arguments)
    assert code(raised) == "budget.unknown_reservation"


@pytest.mark.parametrize("numbers", [{"attempt": 0}, {"count": 0}])
def test_attempts_and_jobs_are_counted_from_one(budgets, numbers):
    with pytest.raises(BudgetError):
        budgets.reserve(**{"project": "film", "job_id": "job", "attempt": 1, "amount_usd": Decimal(1), **numbers})


def test_without_a_budget_there_is_no_limit_and_yet_the_books_are_kept(database, budgets):
    budgets.reserve("film", "job", 1, Decimal(1000))
    assert left_usd(database, "film", DECEMBER) is None
    assert standing(database, "film", DECEMBER).reserved_usd == 1000


def test_the_months_border(database, budgets, clock):
    """Money counts in the month in which it was reserved. What is left is not carried over."""
    set_limit(database, "film", Decimal(5))
    clock.now = JANUARY - timedelta(microseconds=1)
    assert budgets.reserve("film", "job", 1, Decimal(4)).month == "2026-12"
    clock.now = JANUARY
    assert budgets.reserve("film", "job", 1, Decimal(4)).month == "2026-12"  # the same: nothing new
    assert left_usd(database, "film", JANUARY) == 5
    assert budgets.reserve("film", "job", 2, Decimal(5)).month == "2027-01"
    budgets.settle("job", 1, Decimal(3))
    assert standing(database, "film", DECEMBER).spent_usd == 3
    assert standing(database, "film", JANUARY).spent_usd == 0


def test_months_are_utc_whatever_the_clock_says(database, clock):
    from datetime import timezone

    clock.now = datetime(2026, 12, 31, 20, tzinfo=timezone(timedelta(hours=-5)))
    assert Budgets(database, clock=clock).reserve("film", "job", 1, Decimal(1)).month == "2027-01"
    with pytest.raises(ValueError, match="offset"):
        left_usd(database, "film", datetime(2026, 12, 1))


def test_released_in_one_month_and_reserved_anew_in_the_next(database, budgets, clock):
    budgets.reserve("film", "job", 1, Decimal(4))
    budgets.release("job", 1, "held")
    clock.now = JANUARY
    assert budgets.reserve("film", "job", 1, Decimal(3)).month == "2027-01"
    assert standing(database, "film", DECEMBER).reserved_usd == 0
    assert standing(database, "film", JANUARY).reserved_usd == 3


def test_a_months_own_budget_stands_before_the_standing_one(database):
    set_limit(database, "film", Decimal(5))
    found = set_limit(database, "film", Decimal(50), "2026-12")
    assert (found.limit_usd, found.standing) == (50, False)
    assert (standing(database, "film", JANUARY).limit_usd, standing(database, "film", JANUARY).standing) == (5, True)
    assert remove_limit(database, "film", "2026-12")
    assert not remove_limit(database, "film", "2026-12")
    assert left_usd(database, "film", DECEMBER) == 5
    set_limit(database, "film", Decimal(0), "2026-12")
    assert left_usd(database, "film", DECEMBER) == 0  # a budget of nothing is one
    assert remove_limit(database, "film")
    assert left_usd(database, "film", JANUARY) is None


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "26-12", "2026-1", "2026-12-01", "always", ""])
def test_what_is_no_month(database, month):
    with pytest.raises(BudgetError) as raised:
        set_limit(database, "film", Decimal(5), month)
    assert code(raised) == "budget.month_invalid"


def test_a_budget_lowered_below_what_is_reserved(database, budgets):
    """What was begun ends; nothing new begins until there is room again."""
    set_limit(database, "film", Decimal(10))
    budgets.reserve("film", "job", 1, Decimal(8))
    assert set_limit(database, "film", Decimal(5), clock=lambda: DECEMBER).left_usd == -3
    with pytest.raises(BudgetError):
        budgets.reserve("film", "other", 1, Decimal(1))
    budgets.settle("job", 1, Decimal(2))
    assert left_usd(database, "film", DECEMBER) == 3
    budgets.reserve("film", "other", 1, Decimal(3))


def test_the_jobs_own_limit_counts_all_attempts_and_all_jobs_of_a_batch(database, budgets):
    limit = Decimal(1)
    budgets.reserve("film", "job", 1, Decimal(3), count=4, job_limit_usd=limit)
    budgets.settle("job", 1, Decimal("2.5"))
    assert job_left_usd(database, "job", limit, 4) == Decimal("1.5")
    with pytest.raises(BudgetError) as raised:
        budgets.reserve("film", "job", 2, Decimal("1.6"), count=4, job_limit_usd=limit)
    assert code(raised) == "budget.job_limit"
    assert raised.value.fields["left_usd"] == "1.500000"
    budgets.reserve("film", "job", 2, Decimal("1.5"), count=4, job_limit_usd=limit)
    budgets.release("job", 2, "no machine")
    budgets.reserve("film", "job", 3, Decimal("1.5"), count=4, job_limit_usd=limit)


def test_an_approval_lets_one_job_beyond_the_budgets_and_no_other(database, budgets):
    set_limit(database, "film", Decimal(5))
    budgets.reserve("film", "earlier", 1, Decimal(4))
    with pytest.raises(BudgetError):
        budgets.reserve("film", "dear", 1, Decimal(7), job_limit_usd=Decimal(2))
    kept = approve(database, "film", "dear", Decimal(6), "ann", key="flow-run-1", why="the client pays")
    assert approve(database, "film", "dear", Decimal(6), "ann", key="flow-run-1") == kept
    assert approvals(database, "dear") == [kept]
    assert left_usd(database, "film", DECEMBER) == 1
    assert left_usd(database, "film", DECEMBER, job_id="dear") == 7
    with pytest.raises(BudgetError):
        budgets.reserve("film", "other", 1, Decimal(2))
    reserved = budgets.reserve("film", "dear", 1, Decimal(7), job_limit_usd=Decimal(2))
    assert reserved.approved_usd == 6
    assert left_usd(database, "film", DECEMBER) == 0
    assert left_usd(database, "film", DECEMBER, job_id="dear") == 0
    # The budget's own dollar is spent first; of the approval only what was needed.
    assert budgets.settle("dear", 1, Decimal(3)).approved_usd == 2
    assert left_usd(database, "film", DECEMBER) == 0
    assert left_usd(database, "film", DECEMBER, job_id="dear") == 4


def test_an_approval_covers_what_a_lowered_budget_lacks_no_further_than_it_says(database, budgets):
    set_limit(database, "film", Decimal(10))
    budgets.reserve("film", "earlier", 1, Decimal(10))
    set_limit(database, "film", Decimal(5))
    approve(database, "film", "dear", Decimal(2), "ann", key="k")
    with pytest.raises(BudgetError):
        budgets.reserve("film", "dear", 1, Decimal("2.000001"))
    assert budgets.reserve("film", "dear", 1, Decimal(2)).approved_usd == 2
    assert left_usd(database, "film", DECEMBER) == -5


@pytest.mark.parametrize("other", [{"job_id": "other"}, {"extra_usd": Decimal(7)}, {"project": "greetings"}])
def test_an_approval_told_otherwise_is_an_error(database, other):
    said = {"project": "film", "job_id": "job", "extra_usd": Decimal(6), "allowed_by": "ann", "key": "k"}
    approve(database, **said)
    with pytest.raises(BudgetError) as raised:
        approve(database, **{**said, **other})
    assert code(raised) == "budget.contradiction"
    with pytest.raises(BudgetError):
        approve(database, "film", "job", Decimal(0), "ann", key="nothing")


def test_everybody_who_has_a_budget_or_spends_is_listed(database, budgets):
    set_limit(database, "film", Decimal(5))
    set_limit(database, "later", Decimal(5), "2027-01")
    budgets.reserve("greetings", "job", 1, Decimal(1))
    assert [one.project for one in standings(database, "2026-12")] == ["film", "greetings"]
    assert [one.project for one in standings(database, "2027-01")] == ["film", "later"]


def test_leases_are_renewed_and_never_shortened(budgets, clock):
    first = budgets.reserve("film", "job", 1, Decimal(1))
    assert first.lease_until == DECEMBER + timedelta(hours=1)
    clock.now += timedelta(minutes=30)
    assert budgets.renew("job", 1).lease_until == DECEMBER + timedelta(minutes=90)
    assert budgets.renew("job", 1, lease_s=1).lease_until == DECEMBER + timedelta(minutes=90)


def test_the_database_itself_refuses_books_that_cannot_be(database, budgets):
    from sqlalchemy.exc import IntegrityError

    budgets.reserve("film", "job", 1, Decimal(1))
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(text("UPDATE accounts SET reserved_usd = -1"))
