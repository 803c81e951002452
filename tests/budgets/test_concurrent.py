"""Many at once, from several processes and threads: no dollar is given twice, and none is lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

from faceflow.infrastructure.books.budgets.accounts import ReservationState
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.limits import set_limit, standing
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.database import Database
from tests.forked import forked

NOW = datetime(2026, 12, 5, 12, tzinfo=UTC)
fork = forked()
PROCESSES, THREADS, EACH = 4, 5, 50


def reserve_many(settings, names, barrier, answers):
    with Database.open(settings) as database, ThreadPoolExecutor(THREADS) as threads:
        budgets = Budgets(database, clock=lambda: NOW)

        def reserve(name):
            try:
                return name, budgets.reserve("film", name, 1, Decimal("0.1")).state.value
            except BudgetError as error:
                return name, error.code

        barrier.wait(60)
        answers.put(list(threads.map(reserve, names)))


def in_processes(settings, names_by_process):
    barrier, answers = fork.Barrier(len(names_by_process)), fork.Queue()
    processes = [
        fork.Process(target=reserve_many, args=(settings, names, barrier, answers)) for names in names_by_process
    ]
    for process in processes:
        process.start()
    found = [answer for _ in processes for answer in answers.get(timeout=120)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return found


def test_200_ask_and_there_is_room_for_100(database, database_settings):
    set_limit(database, "film", Decimal(10))
    names = [[f"job-{process}-{number}" for number in range(EACH)] for process in range(PROCESSES)]
    answers = in_processes(database_settings, names)
    assert len(answers) == 200
    assert sum(answer == "reserved" for _, answer in answers) == 100
    assert sum(answer == "budget.exhausted" for _, answer in answers) == 100
    assert standing(database, "film", NOW).left_usd == 0
    assert standing(database, "film", NOW).reserved_usd == 10


def test_all_processes_reserve_the_same_jobs(database, database_settings):
    """A job that is dispatched four times at once is reserved once, and everybody gets the same answer."""
    set_limit(database, "film", Decimal(2))
    names = [f"job-{number}" for number in range(20)]
    answers = in_processes(database_settings, [names] * PROCESSES)
    assert [answer for _, answer in answers] == ["reserved"] * 80
    assert standing(database, "film", NOW).reserved_usd == 2


def test_settled_and_released_by_many_at_once(database):
    set_limit(database, "film", Decimal(100))
    budgets = Budgets(database, clock=lambda: NOW)
    for number in range(10):
        budgets.reserve("film", f"job-{number}", 1, Decimal(1))

    def end(number):
        name = f"job-{number % 10}"
        if number % 10 < 5:
            return budgets.settle(name, 1, Decimal("0.25")).state
        return budgets.release(name, 1, "not needed").state

    with ThreadPoolExecutor(8) as threads:
        states = list(threads.map(end, range(60)))
    assert states.count(ReservationState.SETTLED) == states.count(ReservationState.RELEASED) == 30
    found = standing(database, "film", NOW)
    assert (found.reserved_usd, found.spent_usd, found.left_usd) == (0, Decimal("1.25"), Decimal("98.75"))


def test_two_projects_claim_the_same_attempt_at_once(database):
    """They lock different accounts; the key decides, and the loser is told."""
    budgets = Budgets(database, clock=lambda: NOW)

    def reserve(project):
        try:
            return budgets.reserve(project, "job", 1, Decimal(1)).project
        except BudgetError as error:
            return error.code

    with ThreadPoolExecutor(2) as threads:
        answers = set(threads.map(reserve, ("film", "greetings")))
    assert "budget.contradiction" in answers
    (winner,) = answers - {"budget.contradiction"}
    loser = {"film": "greetings", "greetings": "film"}[winner]
    assert standing(database, winner, NOW).reserved_usd == 1
    assert standing(database, loser, NOW).reserved_usd == 0


def test_opposite_orders_do_not_block_each_other(database):
    """Reserving anew after a release locks account and reservation as settling does."""
    budgets = Budgets(database, clock=lambda: NOW)

    def churn(number):
        for _ in range(10):
            budgets.reserve("film", "job", 1, Decimal(1))
            if number % 2:
                budgets.release("job", 1, "again")
            else:
                budgets.renew("job", 1)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(churn, range(4)))
    assert standing(database, "film", NOW).reserved_usd in {0, 1}
