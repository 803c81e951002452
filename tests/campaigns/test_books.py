"""Which jobs share a batch, and how the jobs of a campaign stand, whoever is cut off when."""

import csv
import json
from datetime import timedelta
from decimal import Decimal
from math import isclose

import pytest

from faceflow.errors import JobError, OutputError
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.campaigns.batching import batch_name, batch_size, facts_of, route_of, shared_out
from faceflow.infrastructure.books.campaigns.books import (
    Ending,
    JobState,
    campaign_names,
    end_jobs,
    fail_waiting,
    hold_campaign,
    jobs_of,
    next_waiting,
    place_jobs,
    placed_batches,
    remember_campaign,
    require_campaign,
    retry_failed,
    take_wheel,
    waiting_routes,
)
from faceflow.infrastructure.books.campaigns.figures import counts_of
from faceflow.infrastructure.books.campaigns.report import report_of, write_report
from faceflow.infrastructure.books.campaigns.rows import Row
from faceflow.infrastructure.books.records.erasing import erase_job, erase_project
from faceflow.infrastructure.routing.decide import decide
from tests.routing.worlds import NOW, canonical, snapshot

DONE, FAILED, WAITING = JobState.DONE, JobState.FAILED, JobState.WAITING
POLICY, POOLS = canonical()


def row(number, **facts):
    job = {
        "sources": [{"portraits": [f"/in/{number}.jpg"]}],
        "target": "/in/hello.mp4",
        "output": f"/out/{number}.mp4",
        "consent": {"subject": "visitor", "scope": "greeting", "reference": "7"},
    }
    known = {"frames": 100, "width": 1280, "height": 720, "faces": 1, **facts}
    return Row(line=number, job={**job, **known.pop("job", {})}, **known)


@pytest.fixture
def campaign(database):
    remember_campaign(database, "greetings", "list.csv", [row(number) for number in range(1, 11)], NOW)
    return "greetings"


def placed(database, campaign, number, pool="aws"):
    (route,) = waiting_routes(database, campaign)
    jobs = next_waiting(database, campaign, route, number)
    batch = batch_name(campaign, [job.name for job in jobs])
    assert place_jobs(database, campaign, jobs, batch, [pool] * len(jobs))
    return batch, jobs


def ended(jobs, state=DONE, **more):
    return [Ending(name=job.name, state=state, **more) for job in jobs]


DIFFERENT = [
    {"job": {"project": "other"}},
    {"job": {"sensitivity": "private"}},
    {"job": {"priority": "high"}},
    {"job": {"deadline": "2026-12-24T18:00:00+00:00"}},
    {"job": {"budget": {"limit_usd": "0.1"}}},
    {"job": {"swap": {"engine": "other"}}},
    {"labels": {"kind": "campaign"}},
    {"width": 1920},
    {"height": 1080},
    {"faces": 2},
    {"faces": None},
    {"frames": 200},
    {"frames": None},
]


@pytest.mark.parametrize("other", DIFFERENT, ids=str)
def test_what_rules_can_tell_apart_is_another_route(other):
    assert route_of(row(1, **other)) != route_of(row(2))


def test_jobs_that_differ_in_what_no_rule_can_see_share_a_route():
    assert route_of(row(1)) == route_of(row(2)) == route_of(row(3, job={"callback": "https://x.example/"}))


def test_a_batch_is_decided_as_each_of_its_jobs_alone():
    """And reckoned with its longest one."""
    rows = [row(number, frames=frames) for number, frames in enumerate((97, 100, 103), 1)]
    assert len({route_of(one) for one in rows}) == 1
    together = decide(facts_of(rows, "batch", 1), POLICY, snapshot(), POOLS)
    alone = [decide(facts_of([one], "job", 1), POLICY, snapshot(), POOLS) for one in rows]
    assert {(one.rule, one.placements[0].pool) for one in alone} == {(together.rule, together.placements[0].pool)}
    assert isclose(together.estimate.gpu_s, 3 * alone[-1].estimate.gpu_s, rel_tol=1e-3)


def test_long_jobs_make_smaller_batches():
    assert batch_size(row(1), 50, 900) == 50
    long = row(1, frames=100_000, job={"swap": {"engine": "onnx"}})
    assert 1 <= batch_size(long, 50, 3000) < 50
    assert batch_size(long, 50, 1) == 1
    assert batch_size(row(1, frames=None), 50, 900) == 50  # nobody can tell


def test_a_split_batch_is_shared_out_in_whole_jobs():
    rows = [row(number) for number in range(1, 11)]
    decision = decide(facts_of(rows, "batch", 1), POLICY, snapshot(), POOLS)
    (place,) = decision.placements
    places = [
        place.model_copy(update={"pool": pool, "share": share})
        for pool, share in (("a", 0.55), ("b", 0.4), ("c", 0.05))
    ]
    shares = shared_out(rows, places)
    assert [(one.pool, len(mine)) for one, mine in shares] == [("a", 6), ("b", 4)]
    assert [one for _, mine in shares for one in mine] == rows


def test_remembered_again_only_what_is_new_is_added(database, campaign):
    placed(database, campaign, 3)
    rows = [row(number) for number in range(5, 15)]
    assert remember_campaign(database, campaign, "list.csv", rows, NOW) == 4
    assert counts_of(database, campaign).model_dump() == {"waiting": 11, "placed": 3, "done": 0, "failed": 0}
    assert campaign_names(database) == [campaign]
    with pytest.raises(JobError) as raised:
        require_campaign(database, "other")
    assert raised.value.code == "job.unknown_campaign"


def test_jobs_are_placed_once(database, campaign):
    (route,) = waiting_routes(database, campaign)
    jobs = next_waiting(database, campaign, route, 4)
    assert [job.line for job in jobs] == [1, 2, 3, 4]
    assert place_jobs(database, campaign, jobs, "one", ["aws"] * 4)
    assert not place_jobs(database, campaign, jobs, "two", ["aws"] * 4)
    overlapping = [*next_waiting(database, campaign, route, 2), jobs[0]]
    assert not place_jobs(database, campaign, overlapping, "three", ["aws"] * 3)
    assert counts_of(database, campaign).placed == 4  # all or nothing
    assert {job.batch for batch in placed_batches(database, campaign).values() for job in batch} == {"one"}


def test_what_became_of_a_batch_is_booked_once(database, campaign):
    batch, jobs = placed(database, campaign, 4)
    endings = [
        *ended(jobs[:2], seconds=1.5),
        *ended(jobs[2:3], FAILED, code="face.none", message="No face."),
        *ended(jobs[3:], WAITING, code="fault.run_lost", alone=True),
    ]
    for _ in range(2):
        end_jobs(database, campaign, batch, endings, NOW, Decimal("0.4"))
    found = {job.line: job for job in jobs_of(database, campaign)}
    assert [found[line].state for line in (1, 2, 3, 4)] == [DONE, DONE, FAILED, WAITING]
    assert (found[1].seconds, found[1].cost_usd, found[1].pool) == (1.5, Decimal("0.1"), "aws")
    assert (found[3].code, found[3].message) == ("face.none", "No face.")
    assert (found[4].batch, found[4].alone, found[4].attempt, found[4].cost_usd) == (None, True, 1, Decimal("0.1"))


def test_a_job_that_was_in_work_when_a_run_was_lost_comes_alone_and_last(database, campaign):
    batch, jobs = placed(database, campaign, 10)
    endings = [*ended(jobs[:2], WAITING, alone=True), *ended(jobs[2:], WAITING)]
    end_jobs(database, campaign, batch, endings, NOW, None)
    lines = []
    while routes := waiting_routes(database, campaign):
        now_placed = next_waiting(database, campaign, routes[0], 6)
        lines.append([job.line for job in now_placed])
        place_jobs(database, campaign, now_placed, f"b{len(lines)}", ["aws"] * len(now_placed))
    assert lines == [[3, 4, 5, 6], [7, 8, 9, 10], [1], [2]] or lines == [[3, 4, 5, 6, 7, 8], [9, 10], [1], [2]]


def test_the_same_jobs_again_are_the_next_attempt_of_the_same_batch(database, campaign):
    first, jobs = placed(database, campaign, 10)
    end_jobs(database, campaign, first, ended(jobs, WAITING), NOW, None)
    second, again = placed(database, campaign, 10)
    assert first == second
    assert [job.attempt for job in again] == [1] * 10


def test_late_jobs(database):
    rows = [row(1, job={"deadline": (NOW + timedelta(minutes=1)).isoformat()})]
    remember_campaign(database, "late", "list.csv", rows, NOW)
    batch, jobs = placed(database, "late", 1)
    end_jobs(database, "late", batch, ended(jobs), NOW + timedelta(minutes=2), None)
    assert report_of(database, "late").late == 1


def test_failed_ones_wait_again_when_somebody_wants_that(database, campaign):
    batch, jobs = placed(database, campaign, 3)
    end_jobs(database, campaign, batch, ended(jobs, FAILED, code="engine.failed"), NOW, None)
    (route,) = waiting_routes(database, campaign)
    fail_waiting(database, campaign, next_waiting(database, campaign, route, 7), "policy.refused", "No.")
    assert counts_of(database, campaign).failed == 10
    assert retry_failed(database, campaign) == 10
    assert counts_of(database, campaign).waiting == 10
    assert {job.code for job in jobs_of(database, campaign)} == {None}
    # Attempts go on counting: the same jobs as a batch of the same name are another run.
    assert {job.attempt for job in jobs_of(database, campaign)} == {0, 1}


def test_one_drives_at_a_time(database, campaign):
    until = NOW + timedelta(seconds=60)
    assert take_wheel(database, campaign, "one", NOW, until)
    assert not take_wheel(database, campaign, "two", NOW + timedelta(seconds=59), until)
    assert take_wheel(database, campaign, "one", NOW + timedelta(seconds=59), until + timedelta(seconds=60))
    assert not take_wheel(database, campaign, "two", NOW + timedelta(seconds=61), until)
    assert take_wheel(database, campaign, "two", NOW + timedelta(seconds=120), until)


def test_the_report_and_its_files(database, campaign, tmp_path):
    batch, jobs = placed(database, campaign, 4)
    endings = [*ended(jobs[:3], seconds=2), *ended(jobs[3:], FAILED, code="face.none", message='No "face", here.')]
    end_jobs(database, campaign, batch, endings, NOW, Decimal("0.4"))
    hold_campaign(database, campaign, "the budget is used up")
    report = report_of(database, campaign)
    assert (report.jobs, report.done, report.failed, report.waiting, report.cost_usd) == (10, 3, 1, 6, Decimal("0.4"))
    assert (report.held, report.by_code, report.ended) == ("the budget is used up", {"face.none": 1}, False)
    (pool,) = report.by_pool
    assert (pool.pool, pool.done, pool.failed, pool.seconds) == ("aws", 3, 1, 6.0)
    for ending in ("csv", "json", "jsonl"):
        write_report(database, campaign, tmp_path / f"report.{ending}")
    lines = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert len(lines) == 10
    assert (lines[3]["code"], lines[3]["message"], lines[3]["output"]) == (
        "face.none",
        'No "face", here.',
        "/out/4.mp4",
    )
    whole = json.loads((tmp_path / "report.json").read_text())
    assert (whole["done"], len(whole["all_jobs"])) == (3, 10)
    objects = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert objects == whole["all_jobs"]
    with pytest.raises(OutputError):
        write_report(database, campaign, tmp_path / "report.pdf")


def test_one_job_of_a_campaign_is_forgotten_but_not_while_its_batch_holds_money(database, campaign):
    budgets = Budgets(database, clock=lambda: NOW)
    batch, jobs = placed(database, campaign, 2)
    budgets.reserve("default", batch, 1, Decimal(1), count=2)
    with pytest.raises(BudgetError) as raised:
        erase_job(database, jobs[0].name)
    assert raised.value.code == "budget.still_reserved"
    budgets.settle(batch, 1, Decimal(1))
    assert erase_job(database, jobs[0].name).rows == {"campaign_jobs": 1}
    assert counts_of(database, campaign).jobs == 9
    assert erase_project(database, "default").rows["campaign_jobs"] == 9
    assert campaign_names(database) == []


def test_many_jobs_page_by_page(database, monkeypatch):
    monkeypatch.setattr("faceflow.infrastructure.books.campaigns.books._CHUNK", 7)
    remember_campaign(database, "many", "list.csv", [row(number) for number in range(1, 31)], NOW)
    assert [job.line for job in jobs_of(database, "many")] == list(range(1, 31))
