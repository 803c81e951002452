"""Whoever reserved dies before it settles: the money is settled or given back, once."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from faceflow.infrastructure.books.book_settings import BudgetSettings
from faceflow.infrastructure.books.budgets.accounts import ReservationState
from faceflow.infrastructure.books.budgets.limits import set_limit, standing
from faceflow.infrastructure.books.budgets.reconciling import reconcile
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.runs import RunState, end_run, start_run, submit_run
from tests.forked import forked
from tests.routing.worlds import canonical, job

NOW = datetime(2026, 12, 5, 12, tzinfo=UTC)
SETTINGS = BudgetSettings(lease_s=3600, settle_after_s=600)
POOL = canonical()[1].by_name["aws-g4dn-spot"]
LATER = NOW + timedelta(hours=2)
fork = forked()


def reserve_run_and_die(settings, ends):
    """A dispatcher and its run on a machine that is lost before anything is settled."""
    database = Database.open(settings)
    Budgets(database, SETTINGS, clock=lambda: NOW).reserve("film", "job-1", 1, Decimal(2))
    run = submit_run(database, job(id="job-1", project="film"), POOL, NOW)
    start_run(database, run.key, NOW)
    if ends:
        end_run(database, run.key, RunState.DONE, NOW + timedelta(minutes=1), cost_usd=Decimal("0.5"))
    os.kill(os.getpid(), signal.SIGKILL)


def reserved(database, name="job-1", amount="2"):
    budgets = Budgets(database, SETTINGS, clock=lambda: NOW)
    budgets.reserve("film", name, 1, Decimal(amount))
    return budgets


def submitted(database, name="job-1", part=""):
    return submit_run(database, job(id=name, project="film"), POOL, NOW, part=part)


@pytest.mark.parametrize(("ends", "spent"), [(True, "0.5"), (False, "2")], ids=["run ended", "run lost"])
def test_killed_between_reserve_and_settle(database, database_settings, ends, spent):
    set_limit(database, "film", Decimal(10))
    process = fork.Process(target=reserve_run_and_die, args=(database_settings, ends))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert reconcile(database, SETTINGS, NOW).settled == ()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: reconcile(database, SETTINGS, LATER), range(8)))
    found = standing(database, "film", NOW)
    assert (found.reserved_usd, found.spent_usd) == (0, Decimal(spent))
    (kept,) = Budgets(database).of_job("job-1")
    assert (kept.state, kept.assumed) == (ReservationState.SETTLED, True)


def test_what_was_never_started_is_given_back_after_its_lease(database):
    reserved(database)
    assert reconcile(database, SETTINGS, NOW + timedelta(hours=1)).released == ()
    (released,) = reconcile(database, SETTINGS, NOW + timedelta(hours=1, seconds=1)).released
    assert released.why == "nothing was started before its lease ended"
    assert standing(database, "film", NOW).reserved_usd == 0


def test_what_is_alive_keeps_its_money(database):
    budgets = reserved(database)
    submitted(database)
    budgets.renew("job-1", 1, lease_s=3 * 3600)
    ended = reconcile(database, SETTINGS, LATER)
    assert (ended.settled, ended.released) == ((), ())


def test_runs_that_just_ended_are_left_to_whoever_reserved(database):
    reserved(database)
    run = submitted(database)
    end_run(database, run.key, RunState.DONE, NOW + timedelta(minutes=30), cost_usd=Decimal(1))
    assert reconcile(database, SETTINGS, NOW + timedelta(minutes=39)).settled == ()
    assert reconcile(database, SETTINGS, NOW + timedelta(minutes=41)).settled[0].spent_usd == 1


def test_all_shards_count_together(database):
    reserved(database)
    for number in range(3):
        run = submitted(database, part=f"shard-{number}")
        state = RunState.LOST if number == 2 else RunState.DONE
        end_run(database, run.key, state, NOW, cost_usd=Decimal("0.3"))
    assert reconcile(database, SETTINGS, LATER).settled[0].spent_usd == Decimal("0.9")


@pytest.mark.parametrize(("known", "spent"), [("0.3", "2"), ("3", "3")])
def test_where_the_cost_of_a_shard_is_not_known_the_most_is_taken(database, known, spent):
    reserved(database)
    end_run(database, submitted(database, part="a").key, RunState.DONE, NOW, cost_usd=Decimal(known))
    end_run(database, submitted(database, part="b").key, RunState.LOST, NOW)
    assert reconcile(database, SETTINGS, LATER).settled[0].spent_usd == Decimal(spent)


def test_the_true_cost_still_counts_when_it_comes(database):
    budgets = reserved(database)
    submitted(database)
    reconcile(database, SETTINGS, LATER)
    budgets.settle("job-1", 1, Decimal("0.1"))
    assert standing(database, "film", NOW).spent_usd == Decimal("0.1")
    assert reconcile(database, SETTINGS, LATER).settled == ()


def test_more_reservations_than_a_page(database, monkeypatch):
    monkeypatch.setattr("faceflow.infrastructure.books.budgets.reconciling._PAGE", 3)
    for number in range(8):
        reserved(database, f"job-{number}", "0.1")
        if number % 2:
            submitted(database, f"job-{number}")
    ended = reconcile(database, SETTINGS, LATER)
    assert (len(ended.settled), len(ended.released)) == (4, 4)
