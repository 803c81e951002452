"""`faceflow budget`, `decision` and `database` as a user meets them."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from faceflow.gateway.cli.main import main
from faceflow.infrastructure.books.budgets.accounts import month_of, utc_now
from faceflow.infrastructure.books.budgets.approvals import approve
from faceflow.infrastructure.books.budgets.reservations import Budgets
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.records.decisions import keep_decision
from faceflow.infrastructure.books.records.runs import RunState, end_run, start_run, submit_run
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.settings import Settings, current_settings
from tests.routing.worlds import NOW, POLICIES, canonical, job, snapshot

POLICY, POOLS = canonical()


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "120")
    current_settings.cache_clear()

    def _run(*arguments):
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    yield _run
    current_settings.cache_clear()


@pytest.fixture
def filled(run):
    """A campaign clip that was decided, ran on a spot machine and failed; and a job that still holds money."""
    with Database.open(Settings()) as database:
        facts, world = job(id="a1b2c3d4", project="film", labels={"kind": "campaign"}), snapshot(peak_load=4)
        decision = decide(facts, POLICY, world, POOLS)
        keep_decision(database, facts, world, decision)
        budgets = Budgets(database)
        budgets.reserve("film", "a1b2c3d4", 1, Decimal(60))
        budgets.settle("a1b2c3d4", 1, Decimal(50))
        budgets.reserve("film", "open", 1, Decimal("32.5"))
        made = submit_run(database, facts, POOLS.by_name[decision.placements[0].pool], NOW)
        start_run(database, made.key, NOW)
        end_run(database, made.key, RunState.FAILED, NOW + timedelta(seconds=14), error_code="engine.failed")
        approve(database, "film", "a1b2c3d4", Decimal(10), "ann", key="1", why="the client pays")


def test_set_show_and_remove_a_budget(run):
    month = month_of(utc_now())
    assert "no budgets" in run("budget", "show")[1]
    assert run("budget", "set", "film", "100")[0] == 0
    code, out, _ = run("budget", "set", "film", "250.50", "--month", "2031-12", "--json")
    (found,) = json.loads(out)["budgets"]
    assert (code, found["limit_usd"], found["month"], found["standing"]) == (0, "250.500000", "2031-12", False)
    shown = json.loads(run("budget", "show", "film", "--json")[1])
    assert shown == {
        "month": month,
        "budgets": [
            {
                "project": "film",
                "month": month,
                "limit_usd": "100.000000",
                "standing": True,
                "reserved_usd": "0.000000",
                "spent_usd": "0.000000",
                "approved_usd": "0.000000",
                "left_usd": "100.000000",
            }
        ],
    }
    assert json.loads(run("budget", "show", "--month", "2031-12", "--json")[1])["budgets"] == [found]
    assert json.loads(run("budget", "remove", "film", "--month", "2031-12", "--json")[1])["budgets"][0]["standing"]
    code, out, _ = run("budget", "remove", "film", "--month", "2031-12", "--json")
    assert (code, json.loads(out)["code"]) == (2, "budget.not_set")


def test_the_bar_shows_what_is_spent_and_reserved(run, filled):
    run("budget", "set", "film", "100")
    _, out, _ = run("budget", "show")
    row = next(line for line in out.splitlines() if line.startswith("film"))
    assert row.split()[:5] == ["film", "100.00", "32.50", "50.00", "17.50"]
    assert "█" * 10 + "▒" * 6 + "·" * 4 in row
    assert row.rstrip().endswith("82%")


def test_more_than_the_budget_still_fits_the_screen(run, filled):
    _, out, _ = run("budget", "set", "film", "10")
    assert "-72.50" in out
    assert "825%" in out
    assert out.count("█") + out.count("▒") == 20 + 2  # the legend has one of each


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("set", "film", "abc"), "budget.amount_invalid"),
        (("set", "film", "nan"), "budget.amount_invalid"),
        (("set", "film", "--", "-1"), "budget.amount_invalid"),
        (("set", "film", "1", "--month", "12/2026"), "budget.month_invalid"),
        (("show", "--month", "2026-13"), "budget.month_invalid"),
        (("set", "film"), "job.usage"),
    ],
)
def test_bad_input(run, arguments, code):
    got, out, _ = run("budget", arguments[0], "--json", *arguments[1:])
    assert (got, json.loads(out)["code"]) == (2, code)


def test_why_a_job_ran_where_it_ran(run, filled):
    code, out, _ = run("decision", "show", "a1b2")
    assert code == 0
    for said in (
        "was sent at 2026-11-26 18:00:00 UTC to aws-g4dn-spot",
        "rule 'campaign at peak'",
        "failed (engine.failed)",
        "60.000000 USD reserved",
        "50.000000 USD spent",
        "ann allowed 10.000000 USD more. the client pays",
    ):
        assert said in out
    told = json.loads(run("decision", "show", "a1b2c3d4", "--json")[1])
    assert told["decisions"][0]["rule"] == "campaign at peak"
    assert told["decisions"][0]["explanation"].startswith("Job a1b2c3d4")
    assert told["runs"][0]["error_code"] == "engine.failed"
    assert told["reservations"][0]["spent_usd"] == "50.000000"
    assert told["approvals"][0]["allowed_by"] == "ann"
    code, out, _ = run("decision", "show", "zz", "--json")
    assert (code, json.loads(out)["code"]) == (2, "job.unknown")


def test_what_is_exported_can_be_replayed(run, filled, tmp_path):
    kept = tmp_path / "kept.jsonl"
    assert run("decision", "export", "-o", kept)[1] == f"1 decisions in {kept}\n"
    rules = ("--rules", POLICIES / "canonical.yaml", "--pools", POLICIES / "pools.yaml")
    replayed = json.loads(run("policy", "replay", kept, *rules, "--json")[1])
    assert (replayed["jobs"], replayed["elsewhere"]) == (1, 0)
    assert run("decision", "export")[1] == kept.read_text()
    assert run("decision", "export", "--project", "other")[1] == ""
    assert run("decision", "export", "--since", "2026-11-26", "--until", "2026-11-27")[1] != ""
    assert run("decision", "export", "--until", "2026-11-26T18:00:00+00:00")[1] == ""
    assert run("decision", "export", "--since", "yesterday")[0] == 2
    code, _, err = run("decision", "export", "-o", tmp_path / "nowhere" / "kept.jsonl")
    assert (code, "output.unwritable" in err) == (2, True)


def test_reconcile_says_what_it_ended(run, filled, monkeypatch):
    later = utc_now() + timedelta(days=1)
    monkeypatch.setattr("faceflow.gateway.cli.budget.utc_now", lambda: later)
    _, out, _ = run("budget", "reconcile")
    assert "released  open attempt 1: 32.500000 USD; nothing was started before its lease ended" in out
    assert json.loads(run("budget", "reconcile", "--json")[1]) == {"settled": [], "released": []}


def test_status_and_upgrade(run, tmp_path):
    code, out, _ = run("database", "status", "--json")
    assert (code, json.loads(out)["schema"]) == (1, "empty")
    assert json.loads(run("database", "upgrade", "--json")[1])["before"] == "empty"
    code, out, _ = run("database", "status")
    assert code == 0
    assert out.startswith(f"SQLite at {tmp_path / 'state' / 'faceflow.db'}: schema current")


def test_a_database_that_does_not_answer_is_an_error_without_its_password(run, monkeypatch):
    monkeypatch.setenv("FACEFLOW_DATABASE__URL", "postgresql://me:hunter2@127.0.0.1:1/flow")
    current_settings.cache_clear()
    code, out, err = run("budget", "show", "--json")
    assert (code, json.loads(out)["code"]) == (1, "database.unreachable")
    assert "hunter2" not in out + err
