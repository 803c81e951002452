"""`faceflow policy` and `faceflow simulate` as a user meets them, on files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from faceflow.gateway.cli.main import main
from faceflow.infrastructure.routing.document import read_document
from faceflow.infrastructure.routing.schema import policy_schema
from tests.routing.worlds import NOW, POLICIES

CANONICAL = str(POLICIES / "canonical.yaml")
POOLS = ("--pools", str(POLICIES / "pools.yaml"))
SIGNALS = {"free_gpus": 4, "queue_depth": 0, "spot_price_usd": "0.2"}
SNAPSHOT = {
    "now": NOW.isoformat(),
    "peak_load": 0.3,
    "pools": dict.fromkeys(("private-k8s", "isolated-k8s", "aws-g4dn-spot"), SIGNALS),
}


@pytest.fixture
def run(capsys):
    def _run(*arguments: Any) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().out

    return _run


@pytest.fixture
def files(tmp_path):
    def _files(**contents: Any) -> list[Path]:
        paths = []
        for name, content in contents.items():
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(content if isinstance(content, str) else json.dumps(content))
        return paths

    return _files


@pytest.mark.parametrize(
    "path", sorted(set(POLICIES.glob("*.yaml")) - set(POLICIES.glob("*pools.yaml"))), ids=lambda path: path.stem
)
def test_every_shipped_policy_is_in_order(run, path):
    own = path.with_name(path.name.replace("-rules", "-pools"))
    pools = ("--pools", own) if own != path else POOLS
    code, said = run("policy", "check", path, *pools, "--json")
    answer = json.loads(said)
    dead = [problem["message"] for problem in answer["problems"]]
    assert (code, dead) == (0, [])
    assert len(answer["hash"]) == 64


def test_check_reports_what_is_wrong(run, files):
    text = "version: 1\nrules:\n- name: a\n  place: {lock: [mars]}\n"
    code, said = run("policy", "check", *files(rules=text), *POOLS, "--json")
    assert code == 2
    answer = json.loads(said)
    assert answer["code"] == "policy.invalid"
    assert answer["fields"]["problems"][0]["line"] == 4
    dead = "version: 1\nrules:\n- {name: a, place: {hold: x}}\n- {name: b, place: {hold: x}}\n"
    code, said = run("policy", "check", *files(rules=dead), *POOLS)
    assert code == 2
    assert "line 4, rules[1]: rule 'b' can never match: the earlier rule 'a' takes all of its jobs" in said


def test_explain_for_programs_and_for_people(run, files):
    job, world = files(job={"id": "film-17", "sensitivity": "restricted", "frames": 900}, world=SNAPSHOT)
    arguments = ("policy", "explain", job, "--rules", CANONICAL, *POOLS, "--snapshot", world)
    code, said = run(*arguments, "--json")
    answer = json.loads(said)
    assert code == 0
    assert {"rule", "placements", "estimate", "rejected"} <= set(answer)
    assert answer["rule"] == "film"
    assert [placement["pool"] for placement in answer["placements"]] == ["isolated-k8s"]
    assert {
        "pool": "aws-g4dn-spot",
        "code": "zone",
        "reason": "restricted media may not enter the public zone",
    } in answer["rejected"]
    code, said = run(*arguments)
    assert said.startswith("Job film-17 (restricted media, normal priority, project default) would be sent at ")
    assert "Film work with an actor's portrait may not leave the isolated machine room." in said
    assert said.strip() == answer["explanation"]


@pytest.mark.parametrize(
    ("job", "code"),
    [
        ({"id": "a", "frames": 0}, "policy.invalid"),
        ({"frames": 1}, "policy.invalid"),
        ("{", "policy.invalid"),
        ({"id": "a", "deadline": "2027-01-01T00:00:00"}, "policy.invalid"),
    ],
)
def test_a_bad_job_file_is_bad_input(run, files, job, code):
    exit_code, said = run("policy", "explain", *files(job=job), "--rules", CANONICAL, *POOLS, "--json")
    assert (exit_code, json.loads(said)["code"]) == (2, code)


def test_what_is_missing_is_said(run, files, tmp_path):
    [job] = files(job={"id": "a", "frames": 1})
    for arguments, code in (
        (("policy", "explain", job, "--rules", CANONICAL), "policy.pools_missing"),
        (("policy", "explain", job, *POOLS), "policy.rules_missing"),
        (("policy", "check", tmp_path / "nothing.yaml"), "policy.unreadable"),
        (("policy", "replay", job, "--rules", CANONICAL, *POOLS), "policy.record_invalid"),
        (("simulate", CANONICAL, *POOLS), "job.usage"),
    ):
        exit_code, said = run(*arguments, "--json")
        assert (exit_code, json.loads(said)["code"]) == (2, code)


def test_diff_and_replay(run, files, tmp_path):
    facts = {"id": "clip", "frames": 450, "engine": "onnx", "labels": {"kind": "campaign"}}
    peak = {**SNAPSHOT, "peak_load": 8}
    [changed] = files(new=(POLICIES / "thrifty.yaml").read_text())
    [records] = files(records="\n".join(json.dumps({"job": facts, "snapshot": world}) for world in (SNAPSHOT, peak)))
    code, said = run("policy", "diff", CANONICAL, changed, *POOLS, "--records", records, "--json")
    answer = json.loads(said)
    assert code == 0
    assert "rule 'campaign at peak' is gone" in answer["differences"]
    assert (answer["jobs"], answer["elsewhere"]) == (2, 1)
    [change] = answer["changes"]
    assert (change["before"], change["now"]) == ("run on aws-g4dn-spot", "run on private-k8s")
    assert float(change["more_usd"]) < 0
    code, said = run("policy", "diff", CANONICAL, CANONICAL, *POOLS, "--records", records)
    assert "both rule sets decide alike" in said
    assert "2 jobs, 0 of which would run elsewhere" in said


def test_the_schema_says_what_the_loader_says(run):
    code, said = run("policy", "schema")
    schema = json.loads(said)
    assert (code, schema) == (0, policy_schema())
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    for path in POLICIES.glob("*.yaml"):
        content = read_document(path.read_text()).value
        assert checker.is_valid(content) is (not path.stem.endswith("pools")), path
    good = {"version": 1, "rules": [{"name": "a", "when": {"sensitivity": "public"}, "place": {"hold": "x"}}]}
    assert checker.is_valid(good)
    assert checker.is_valid({"task_rules": [{"priority": "high", "data_sensitivity": "low", "use_cloud": False}]})
    for wrong in (
        {**good, "more": 1},
        {**good, "version": 0},
        {"version": 1, "rules": [{"name": "a", "when": {"sensitivity": "secret"}, "place": {}}]},
        {"task_rules": [{"use_cloud": "yes"}]},
    ):
        assert not checker.is_valid(wrong), wrong


SMALL = {
    "name": "small",
    "hours": 2,
    "drain_hours": 1,
    "classes": [
        {
            "name": "campaign",
            "jobs": 2000,
            "curve": "flat",
            "labels": {"kind": "campaign"},
            "deadline_s": 3600,
            "batch": 50,
        },
        {"name": "film", "jobs": 5, "sensitivity": "restricted", "frames": 3000},
    ],
}


def test_simulate_compares_policies(run, files, tmp_path):
    [scenario] = files(scenario=SMALL)
    kept, plots = tmp_path / "kept" / "records.jsonl", tmp_path / "plots"
    rules = (CANONICAL, POLICIES / "cloud-only.yaml")
    arguments = ("simulate", *rules, *POOLS, "--scenario", scenario, "--plots", plots, "--records", kept)
    code, said = run(*arguments, "--json")
    answer = json.loads(said)
    assert code == 0
    ours, cloud = answer["policies"]
    assert (ours["jobs"], ours["in_time"], ours["undone"]) == (2005, 2005, 0)
    assert (cloud["in_time"], cloud["undone"]) == (2000, 5), "film work cannot be done in the cloud"
    assert 0 < answer["lower_bound_usd"] <= ours["total_usd"]
    for name in ("cost.svg", "day.svg"):
        assert (plots / name).read_text().startswith("<svg ")
    _, again = run(*arguments, "--json")
    assert json.loads(again) == answer, "same input, same day"
    code, said = run("policy", "replay", kept, "--rules", CANONICAL, *POOLS, "--json")
    replayed = json.loads(said)
    assert (code, replayed["elsewhere"]) == (0, 0)
    assert replayed["jobs"] == len(kept.read_text().splitlines()) > 10
    code, said = run("simulate", CANONICAL, *POOLS, "--scenario", scenario)
    assert code == 0
    assert "canonical: pools" in said


def test_simulate_a_trace(run, tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,count,sensitivity,frames,deadline_s\n60,3,private,450,600\n0,1,public,900,\n")
    code, said = run("simulate", CANONICAL, *POOLS, "--trace", trace, "--json")
    [ours] = json.loads(said)["policies"]
    assert (code, ours["jobs"], ours["in_time"]) == (0, 4, 4)
    assert [(one["name"], one["jobs"]) for one in ours["classes"]] == [("private", 3), ("public", 1)]
    trace.write_text("arrival_s,frames\n0,450\nsoon,450\n")
    code, said = run("simulate", CANONICAL, *POOLS, "--trace", trace, "--json")
    answer = json.loads(said)
    assert (code, answer["code"]) == (2, "policy.trace_invalid")
    assert "Line 3 of" in answer["message"]


def test_a_job_names_an_engine_that_there_is(run, files):
    for known in ("auto", "mesh", "inswapper_128"):
        assert run("policy", "explain", *files(job={"id": "j", "engine": known}), "--rules", CANONICAL, *POOLS)[0] == 0
    for wrong in ({"engine": "onnx"}, {"restorer": "inswapper_128"}):
        code, said = run("policy", "explain", *files(job={"id": "j", **wrong}), "--rules", CANONICAL, *POOLS, "--json")
        assert (code, json.loads(said)["code"]) == (2, "job.engine_unknown")


def test_what_is_wrong_with_a_job_file_is_not_looked_for_among_the_rules(run, files):
    [job] = files(job={"id": "j", "engin": "mesh"})
    code, said = run("policy", "explain", job, "--rules", CANONICAL, *POOLS, "--json")
    answer = json.loads(said)
    assert (code, answer["code"]) == (2, "policy.invalid")
    assert "engin: there is no such field" in answer["message"]
    assert "docs/routing.md" in answer["resolution"]
    assert "schema" not in answer["resolution"]


def test_signals_that_are_missing_share_one_sentence(run, files):
    job = {"id": "j", "labels": {"kind": "campaign"}, "frames": 450}
    code, said = run("policy", "explain", *files(job=job), "--rules", CANONICAL, *POOLS)
    [line] = [line for line in said.splitlines() if "issing" in line]
    assert code == 0
    assert "the peak load; the spot price of aws-g4dn-spot, azure-t4-spot and alibaba-gn6i-spot;" in line
