"""What was decided, what ran, and what that teaches; kept as it was, and forgotten on request."""

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from faceflow.errors import JobError
from faceflow.infrastructure.books.budgets.approvals import approve
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.limits import set_limit, standing
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.schema import Base
from faceflow.infrastructure.books.records.corrections import FEWEST, NEWEST, corrections
from faceflow.infrastructure.books.records.decisions import decisions_of, find_job, keep_decision, kept_decisions
from faceflow.infrastructure.books.records.erasing import erase_job, erase_project
from faceflow.infrastructure.books.records.runs import (
    RunKey,
    RunState,
    end_run,
    open_runs,
    runs_of,
    start_run,
    submit_run,
)
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.snapshot import MoneySignal, PoolSignals, Signal
from tests.routing.worlds import NOW, canonical, job, snapshot

POLICY, POOLS = canonical()
SPOT = POOLS.by_name["aws-g4dn-spot"]
OWNED = POOLS.by_name["private-k8s"]


def decided(database, facts, world=None):
    world = world or snapshot()
    decision = decide(facts, POLICY, world, POOLS)
    keep_decision(database, facts, world, decision)
    return decision


def ran(database, name, ratio, *, minutes=0, state=RunState.DONE, pool=SPOT, engine="onnx"):
    run = submit_run(database, job(id=name, engine=engine), pool, NOW)
    taken = None if ratio is None else run.estimated_gpu_s * ratio
    return end_run(database, run.key, state, NOW + timedelta(minutes=minutes), gpu_s=taken)


def test_a_decision_comes_back_as_it_was_made(database):
    absurd = snapshot(
        pools={
            "private-k8s": PoolSignals(free_gpus=Signal(value=math.nan), queue_depth=Signal(value=-math.inf, age_s=1e9))
        },
        budget_left_usd=MoneySignal(value=Decimal("0.000001"), age_s=0.25, source="books"),
        corrections={"onnx/t4": math.inf},
    )
    facts = job(id="job-1", project="film", labels={"kind": "campaign"}, budget_usd=Decimal("0.30"))
    decision = decided(database, facts, absurd)
    (record,) = decisions_of(database, "job-1")
    assert record.decision == decision
    assert record.job == facts
    assert record.snapshot.model_dump_json() == absurd.model_dump_json()
    assert math.isnan(record.snapshot.pools["private-k8s"].free_gpus.value)
    # Replayed from what was kept, it is decided alike.
    assert decide(record.job, POLICY, record.snapshot, POOLS) == decision


def test_the_same_decision_is_kept_once_and_a_new_one_beside_it(database):
    for _ in range(3):
        decided(database, job(id="job-1"))
    later = snapshot(now=NOW + timedelta(minutes=1))
    decided(database, job(id="job-1"), later)
    decided(database, job(id="job-1", attempt=2), later)
    records = decisions_of(database, "job-1")
    assert [(one.decision.attempt, one.decision.decided_at) for one in records] == [
        (1, NOW),
        (1, later.now),
        (2, later.now),
    ]


def test_kept_decisions_come_in_order_page_by_page(database, monkeypatch):
    monkeypatch.setattr("faceflow.infrastructure.books.records.decisions._PAGE", 2)
    for number in range(7):
        project = "film" if number % 2 else "greetings"
        decided(database, job(id=f"job-{number}", project=project), snapshot(now=NOW + timedelta(minutes=number)))
    assert [one.job.id for one in kept_decisions(database)] == [f"job-{number}" for number in range(7)]
    assert [one.job.id for one in kept_decisions(database, "film")] == ["job-1", "job-3", "job-5"]
    part = kept_decisions(database, since=NOW + timedelta(minutes=2), until=NOW + timedelta(minutes=4))
    assert [one.job.id for one in part] == ["job-2", "job-3"]


def test_a_job_is_found_by_the_beginning_of_its_id(database):
    for name in ("abc1", "abc2", "abc", "x_y", "xzy"):
        decided(database, job(id=name))
    assert find_job(database, "abc") == "abc"
    assert find_job(database, "abc2") == "abc2"
    assert find_job(database, "x_") == "x_y"  # no wildcard
    for beginning, code in (("ab", "job.ambiguous"), ("q", "job.unknown"), ("", "job.unknown"), ("%", "job.unknown")):
        with pytest.raises(JobError) as raised:
            find_job(database, beginning)
        assert raised.value.code == code


def test_a_run_from_submitted_to_done(database):
    facts = job(id="job-1", project="film", count=50)
    run = submit_run(database, facts, SPOT, NOW, price_usd_per_gpu_hour=Decimal("0.36"))
    assert (run.state, run.count, run.gpu, run.estimated_gpu_s) == (
        RunState.SUBMITTED,
        50,
        "t4",
        pytest.approx(450 * 50 / 62.5, rel=0.5),
    )
    assert submit_run(database, facts, SPOT, NOW, flow_run_id="f-1").flow_run_id == "f-1"
    assert [one.key for one in open_runs(database)] == [run.key]
    started = start_run(database, run.key, NOW + timedelta(seconds=40))
    assert (started.state, started.started_at) == (RunState.RUNNING, NOW + timedelta(seconds=40))
    ended = end_run(database, run.key, RunState.DONE, NOW + timedelta(seconds=140))
    assert (ended.gpu_s, ended.cost_usd) == (100.0, Decimal("0.01"))
    assert open_runs(database) == []
    assert runs_of(database, "job-1") == [ended]


def test_news_may_come_late_twice_and_out_of_order(database):
    run = submit_run(database, job(id="job-1"), SPOT, NOW)
    ended = end_run(database, run.key, RunState.FAILED, NOW + timedelta(seconds=9), error_code="engine.failed")
    assert (ended.gpu_s, ended.cost_usd) == (None, None)  # nobody said when it began
    assert start_run(database, run.key, NOW).state is RunState.FAILED
    again = end_run(database, run.key, RunState.LOST, NOW + timedelta(seconds=99))
    assert (again.state, again.ended_at, again.error_code) == (RunState.FAILED, ended.ended_at, "engine.failed")
    assert again.gpu_s == 9  # now it is known
    assert end_run(database, run.key, RunState.FAILED, NOW, gpu_s=1).gpu_s == 9


def test_a_run_that_nobody_submitted(database):
    with pytest.raises(JobError) as raised:
        start_run(database, RunKey(job_id="job-1", attempt=1, pool="mars"), NOW)
    assert raised.value.code == "job.unknown_run"
    run = submit_run(database, job(id="job-1"), SPOT, NOW)
    with pytest.raises(ValueError, match="not a final state"):
        end_run(database, run.key, RunState.RUNNING, NOW)


def test_corrections_are_the_median_of_the_newest_runs(database):
    for number, ratio in enumerate((1.0, 1.2, 5.0)):
        ran(database, f"job-{number}", ratio)
    ran(database, "mesh", 2.0, engine="mesh")
    assert corrections(database) == {"onnx/t4": 1.2}
    for number in range(NEWEST):
        ran(database, f"newer-{number}", 0.5, minutes=1)
    assert corrections(database) == {"onnx/t4": 0.5}


@pytest.mark.parametrize(
    "spoilt",
    [{"ratio": 1e6}, {"ratio": 1e-6}, {"ratio": None}, {"ratio": 0.0}, {"ratio": 3.0, "state": RunState.LOST}],
)
def test_runs_that_teach_nothing_are_left_out(database, spoilt):
    for number in range(FEWEST):
        ran(database, f"job-{number}", 1.5)
    for number in range(FEWEST + 2):
        ran(database, f"spoilt-{number}", minutes=1, **spoilt)
    assert corrections(database) == {"onnx/t4": 1.5}


def test_corrections_do_not_chase_themselves(database):
    """Estimates of runs are kept without corrections: a decision that was corrected does not change the factor."""
    for number in range(5):
        world = snapshot(corrections=corrections(database))
        facts = job(id=f"job-{number}")
        decided(database, facts, world)
        ran(database, facts.id, 2.0, minutes=number)
    assert corrections(database) == {"onnx/t4": 2.0}


def test_a_decision_uses_them(database):
    facts = job(id="job-1", sensitivity="private")
    before = decide(facts, POLICY, snapshot(), POOLS).estimate.gpu_s
    for number in range(3):
        ran(database, f"job-{number}", 2.0, pool=OWNED)
    after = decide(facts, POLICY, snapshot(corrections=corrections(database)), POOLS).estimate.gpu_s
    assert after == pytest.approx(2 * before, rel=1e-3)


def test_a_shards_estimate_is_its_share(database):
    whole = submit_run(database, job(id="a"), SPOT, NOW).estimated_gpu_s
    assert submit_run(database, job(id="b"), SPOT, NOW, share=0.25).estimated_gpu_s == pytest.approx(whole / 4)
    assert submit_run(database, job(id="c", frames=None), SPOT, NOW).estimated_gpu_s is None


def everything_kept(database):
    with database.read() as session:
        return json.dumps(
            [[list(map(str, row)) for row in session.execute(select(table))] for table in Base.metadata.sorted_tables]
        )


def filled(database, name, project):
    decided(database, job(id=name, project=project))
    run = submit_run(database, job(id=name, project=project), SPOT, NOW)
    end_run(database, run.key, RunState.DONE, NOW, cost_usd=Decimal(1))
    approve(database, project, name, Decimal(1), "ann", key=name)
    return Budgets(database, clock=lambda: NOW).reserve(project, name, 1, Decimal(2))


def test_a_job_is_forgotten_and_the_money_stays_spent(database):
    budgets = Budgets(database, clock=lambda: NOW)
    set_limit(database, "film", Decimal(10))
    for name in ("secret-job", "other-job"):
        filled(database, name, "film")
    with pytest.raises(BudgetError) as raised:
        erase_job(database, "secret-job")
    assert raised.value.code == "budget.still_reserved"
    assert len(decisions_of(database, "secret-job")) == 1
    budgets.settle("secret-job", 1, Decimal("1.5"))
    assert erase_job(database, "secret-job").rows == {"decisions": 1, "runs": 1, "approvals": 1, "reservations": 1}
    assert "secret-job" not in everything_kept(database)
    assert standing(database, "film", NOW).spent_usd == Decimal("1.5")
    assert len(decisions_of(database, "other-job")) == len(runs_of(database, "other-job")) == 1


def test_a_project_is_forgotten_with_its_books(database):
    set_limit(database, "secret-film", Decimal(10))
    filled(database, "job-1", "secret-film")
    filled(database, "job-2", "greetings")
    with pytest.raises(BudgetError):
        erase_project(database, "secret-film")
    Budgets(database).release("job-1", 1, "over")
    erased = erase_project(database, "secret-film").rows
    assert erased == {"decisions": 1, "runs": 1, "approvals": 1, "reservations": 1, "accounts": 1, "budgets": 1}
    assert "secret-film" not in everything_kept(database)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Base.metadata.tables["decisions"])) == 1


def test_moments_keep_their_microseconds(database):
    moment = datetime(2026, 12, 24, 18, 0, 0, 123456, tzinfo=UTC)
    run = submit_run(database, job(id="job-1"), SPOT, moment)
    assert run.submitted_at == moment
