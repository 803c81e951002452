"""Lists of a hundred thousand rows: memory does not grow with them, and the last batch is placed like the first."""

import json
import subprocess
import sys

import pytest
from sqlalchemy import event

from faceflow.infrastructure.books.campaigns.books import jobs_of, next_waiting, remember_campaign, waiting_routes
from faceflow.infrastructure.books.campaigns.figures import counts_of
from faceflow.infrastructure.books.campaigns.rows import Row, Rows
from tests.conftest import ROOT
from tests.routing.worlds import NOW


def row(number: int) -> Row:
    job = {
        "sources": [{"portraits": [f"/in/{number}.jpg"]}],
        "target": "/in/hello.mp4",
        "output": f"/out/{number}.mp4",
        "consent": {"subject": "visitor", "scope": "greeting", "reference": "7"},
    }
    return Row(line=number, job=job, frames=100, width=1280, height=720, faces=1)


def test_rows_wait_on_disk_and_come_back_as_they_were(monkeypatch):
    monkeypatch.setattr("faceflow.infrastructure.books.campaigns.rows._IN_MEMORY_BYTES", 1000)
    rows = Rows()
    for number in range(1, 51):
        rows.append(row(number))
    assert vars(rows._file)["_rolled"], "they are no longer in memory"
    assert len(rows) == 50
    first, second = iter(rows), iter(rows)
    assert [next(first) == next(second) == row(number) for number in range(1, 51)] == [True] * 50
    assert [one.name for one in rows] == [row(number).name for number in range(1, 51)]


def test_the_books_are_read_without_sorting_what_waits(database):
    """Each of these is asked for once a batch or page: a sort of all rows would make a long list slow."""
    if database.address.file is None:
        pytest.skip("the plan of SQLite is looked at")
    remember_campaign(database, "c", "list.csv", [row(number) for number in range(1, 200)], NOW)
    plans: list[str] = []

    def explain(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(step[3] for step in plan)

    event.listen(database._engine, "before_cursor_execute", explain)
    (route,) = waiting_routes(database, "c")
    plans.clear()
    assert next_waiting(database, "c", route, 5)
    assert len(list(jobs_of(database, "c"))) == 199
    assert counts_of(database, "c").jobs == 199
    assert plans
    assert not [step for step in plans if "TEMP B-TREE" in step or step.startswith("SCAN")], plans


@pytest.mark.full
@pytest.mark.timeout(1500)
def test_a_hundred_thousand_rows():
    """Under a load the steps take longer, but the last batches no longer than the first."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.campaign_books"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    figures = json.loads(done.stdout)
    assert figures["batches"] >= 2000
    assert figures["peak_mib"] < 200
    assert figures["last_batch_ms"] < 3 * figures["first_batch_ms"]
