"""`faceflow policy push | show | check | explain --live | signals` and the doctor, on sources, as a user meets them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from faceflow.gateway.cli.main import main
from faceflow.infrastructure.settings import current_settings
from tests.routing.worlds import POLICIES
from tests.rule_sources.places import consul_place, etcd_place
from tests.rule_sources.test_following import rules

CANONICAL = POLICIES / "canonical.yaml"
POOLS = POLICIES / "pools.yaml"


@dataclass
class Said:
    exit_code: int
    stdout: str

    @property
    def answer(self):
        return json.loads(self.stdout)


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """The program in this process: what is looked at takes milliseconds, starting it anew takes seconds."""

    def _run(*arguments, **environment):
        settings = {
            "FACEFLOW_PATHS__STATE": str(tmp_path / "state"),
            "FACEFLOW_PATHS__SCRATCH": str(tmp_path / "scratch"),
            "FACEFLOW_ROUTING__POOLS": str(POOLS),
            "FACEFLOW_SIGNALS__PREFECT": "false",
            **environment,
        }
        with monkeypatch.context() as patched:
            for name, value in settings.items():
                patched.setenv(name, value)
            current_settings.cache_clear()
            try:
                code = main([str(argument) for argument in arguments])
            finally:
                current_settings.cache_clear()
        return Said(code, capsys.readouterr().out)

    return _run


def test_push_and_show(run, tmp_path):
    with etcd_place(tmp_path) as place:
        named = {"FACEFLOW_ROUTING__RULES": place.address}
        none = run("policy", "show", "--json", **named)
        assert (none.exit_code, none.answer["live"], none.answer["age_s"]) == (1, None, None)
        assert "does not exist" in none.answer["outage"]["reason"]

        done = run("policy", "push", CANONICAL, "--json", **named)
        assert (done.exit_code, done.answer["version"], done.answer["replaced_version"]) == (0, 1, None)
        assert done.answer["source"] == place.address

        shown = run("policy", "show", "--json", **named)
        assert shown.exit_code == 0
        assert shown.answer["live"]["hash"] == done.answer["hash"]
        assert shown.answer["age_s"] >= 0
        assert (shown.answer["refused"], shown.answer["outage"]) == (None, None)

        again = run("policy", "push", CANONICAL, "--to", place.address)
        assert (again.exit_code, "was already there" in again.stdout) == (0, True)
        old = tmp_path / "old.json"
        old.write_text(rules(1))
        refused = run("policy", "push", old, "--json", **named)
        assert (refused.exit_code, refused.answer["code"]) == (2, "policy.version_not_grown")
        broken = tmp_path / "broken.json"
        broken.write_text(rules(2, pool="mars"))
        invalid = run("policy", "push", broken, "--json", **named)
        assert invalid.answer["code"] == "policy.invalid"

        place.put(broken.read_text())
        shown = run("policy", "show", **named)
        assert shown.exit_code == 1
        assert "version 1" in shown.stdout
        assert "mars" in shown.stdout
        checked = run("policy", "check", place.address, "--json")
        assert (checked.exit_code, checked.answer["fields"]["problems"][0]["field"]) == (2, "rules[0].place.prefer[0]")

        job = tmp_path / "job.json"
        job.write_text(json.dumps({"id": "film-17", "sensitivity": "restricted", "frames": 100}))
        explained = run("policy", "explain", job, "--json", **named)
        assert explained.exit_code == 0
        answer = explained.answer
        assert (answer["rule"], answer["policy"]["version"]) == ("film", 1)
        assert answer["policy"]["hash"] == done.answer["hash"], "the last good rules decide"
        assert answer["placements"][0]["pool"] == "isolated-k8s"
        assert answer["estimate"]["gpu_s"] > 0
        assert {"pool", "code", "reason"} == answer["rejected"][0].keys()


def test_rules_travel_from_one_source_to_another(run, tmp_path):
    with etcd_place(tmp_path) as one, consul_place(tmp_path) as other:
        assert run("policy", "push", CANONICAL, "--to", one.address).exit_code == 0
        done = run("policy", "push", one.address, "--to", other.address, "--json")
        assert (done.exit_code, done.answer["source"]) == (0, other.address)
        same = run("policy", "diff", one.address, other.address, "--json")
        assert (same.exit_code, same.answer["differences"]) == (0, [])
        one.go_away()
        away = run("policy", "push", CANONICAL, "--to", one.address, "--json")
        assert (away.exit_code, away.answer["code"], away.answer["retryable"]) == (1, "policy.source_failed", True)


def test_live_signals_are_gathered(run, tmp_path):
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"id": "a", "frames": 100}))
    asked = {"FACEFLOW_PROMETHEUS__URL": "http://127.0.0.1:9", "FACEFLOW_ROUTING__RULES": str(CANONICAL)}
    told = run("policy", "signals", "--json", **asked)
    assert told.exit_code == 1
    [source] = told.answer["sources"]
    assert (source["name"], source["readings"]) == ("prometheus", [])
    assert "cannot be reached" in source["failure"]
    assert "prometheus" in run("policy", "signals", **asked).stdout
    explained = run("policy", "explain", job, "--live", "--json", **asked)
    assert explained.exit_code == 0
    assert explained.answer["placements"][0]["pool"] == "private-k8s", "without news it stays at home"
    both = run("policy", "explain", job, "--live", "--snapshot", job, "--json", **asked)
    assert (both.exit_code, both.answer["code"]) == (2, "policy.two_snapshots")


def test_the_doctor_looks_at_rules_and_signals(run, tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(rules(3))
    asked = {"FACEFLOW_ROUTING__RULES": str(path), "FACEFLOW_PROMETHEUS__URL": "http://127.0.0.1:9"}

    def findings():
        return {one["what"]: one for one in run("doctor", "--json", **asked).answer["findings"]}

    found = findings()
    assert (found["routing rules"]["level"], "version 3" in found["routing rules"]["found"]) == ("good", True)
    assert "7 in" in found["pools"]["found"]
    assert (found["signals: prometheus"]["level"], found["signals: prometheus"]["resolution"]) == (
        "note",
        "faceflow policy signals",
    )
    path.write_text(rules(4, pool="mars"))
    found = findings()
    assert "version 3" in found["routing rules"]["found"]
    assert (found["source of rules"]["level"], "mars" in found["source of rules"]["found"]) == ("note", True)
