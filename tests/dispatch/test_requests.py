"""Requests are remembered once, and only whoever saw the last version of one may change it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.erasing import erase_job
from faceflow.infrastructure.books.records.requests import (
    Request,
    RequestState,
    change,
    find_request,
    remember,
    requests_in,
)
from faceflow.job import Source, SwapJob

NOW = datetime(2026, 12, 24, tzinfo=UTC)
JOB = SwapJob(sources=(Source(portraits=("a.png",)),), target="t.mp4", output="o.mp4", project="demo")
DISPATCHERS = 8


def test_the_same_request_is_remembered_once(database: Database) -> None:
    first = remember(database, "job-1", JOB, "{}", NOW)
    assert (first.state, first.attempt, first.job) == (RequestState.NEW, 0, JOB)
    again = remember(database, "job-1", JOB.model_copy(update={"project": "other"}), "{}", NOW)
    assert again == first
    assert find_request(database, "job-2") is None


def test_of_many_that_saw_the_same_version_one_changes_it(database: Database) -> None:
    seen = remember(database, "job-1", JOB, "{}", NOW)
    together = Barrier(DISPATCHERS)

    def place(number: int) -> Request | None:
        together.wait(30)
        return change(database, seen, RequestState.PLACING, NOW, attempt=1, reason=str(number))

    with ThreadPoolExecutor(DISPATCHERS) as threads:
        placed = [one for one in threads.map(place, range(DISPATCHERS)) if one is not None]
    assert placed == [find_request(database, "job-1")]
    assert placed[0].attempt == 1
    assert change(database, seen, RequestState.DONE, NOW) is None


def test_requests_are_found_by_state_and_forgotten_with_their_job(database: Database) -> None:
    for name in ("job-1", "job-2"):
        change(database, remember(database, name, JOB, "{}", NOW), RequestState.HELD, NOW)
    remember(database, "job-3", JOB, "{}", NOW)
    assert [one.job_id for one in requests_in(database, RequestState.HELD)] == ["job-1", "job-2"]
    assert erase_job(database, "job-1").rows["requests"] == 1
    assert [one.job_id for one in requests_in(database, RequestState.HELD, RequestState.NEW)] == ["job-2", "job-3"]
