"""The last good rules on the disk, shared by processes; addresses; pushing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing_settings import RoutingSettings
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.rules import current_policy, open_source, watching
from faceflow.infrastructure.sources.rules.pushing import push_rules
from faceflow.infrastructure.sources.rules.rule_source import (
    ChangedMeanwhileError,
    PolicySourceError,
    RuleSourceError,
    RulesText,
)
from faceflow.infrastructure.sources.rules.state import Kept, KeptFile, RuleState
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings
from faceflow.settings import PathSettings
from tests.events import captured_events
from tests.routing.worlds import canonical
from tests.rule_sources.test_following import rules
from tests.servers import until

_, POOLS = canonical()
NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


class Memory:
    """A source in memory. Holding an exception, it raises it."""

    def __init__(self, held=None):
        self.held = held
        self.number = 0
        self.shown = "memory:rules"

    async def load(self):
        if isinstance(self.held, Exception):
            raise self.held
        if self.held is None:
            raise RuleSourceError("nothing is there", absent=True)
        return RulesText(self.held.encode(), str(self.number))

    async def wait_for_change(self, revision):
        while str(self.number) == revision:
            await asyncio.sleep(0.01)

    async def push(self, content, replaces):
        if replaces != (None if self.held is None else str(self.number)):
            raise ChangedMeanwhileError
        self.held, self.number = content.decode(), self.number + 1
        return str(self.number)

    async def close(self):
        pass


@pytest.fixture
def settings(tmp_path):
    return Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"))


def current(settings, source, pools=POOLS):
    return asyncio.run(current_policy(settings, pools, source))


AWAY = RuleSourceError("it cannot be reached (no route)")


def test_there_never_was_a_good_version(settings):
    with pytest.raises(PolicySourceError) as caught:
        current(settings, Memory(AWAY))
    assert (caught.value.code, caught.value.retryable) == ("policy.no_rules", True)
    assert "no route" in caught.value.message
    with pytest.raises(PolicySourceError, match="mars"):
        current(settings, Memory(rules(1, pool="mars")))


def test_a_fault_of_the_source_does_not_end_anything(settings):
    current(settings, Memory(rules(1)))
    with captured_events() as events:
        live = current(settings, Memory(ZeroDivisionError("a bug")))
    assert (live.policy.version, "ZeroDivisionError" in live.state.outage.reason) == (1, True)
    assert [event["event"] for event in events] == ["rules.unexpected", "rules.source_lost"]


def test_no_fault_ends_the_following(settings):
    class Faulty(Memory):
        async def wait_for_change(self, revision):
            raise ZeroDivisionError

    def fail(policy):
        seen.append(policy.version)
        raise ValueError

    seen = []
    source = Faulty(rules(1))
    with captured_events() as events, watching(settings, POOLS, source=source, on_change=fail) as keeper:
        source.held = rules(2)
        until(lambda: keeper.policy.version == 2, 5)
        source.held = rules(3)
        until(lambda: keeper.policy.version == 3, 5)
    assert seen == [1, 2, 3]
    names = [event["event"] for event in events]
    assert (names.count("rules.watch_failed"), names.count("rules.unexpected")) == (1, 3)


def test_a_source_that_never_answers_costs_the_timeout(settings):
    class Silent(Memory):
        async def load(self):
            await asyncio.sleep(60)

    current(settings, Memory(rules(1)))
    quick = settings.model_copy(update={"rule_source": RuleSourceSettings(timeout_s=0.2)})
    live = current(quick, Silent())
    assert (live.policy.version, live.state.outage.reason) == (1, "it does not respond in time")


def test_kept_rules_are_judged_with_the_pools_of_today(settings):
    current(settings, Memory(rules(1)))
    others = Pools(pools=tuple(pool for pool in POOLS.pools if pool.name != "private-k8s"))
    with captured_events() as events, pytest.raises(PolicySourceError):
        current(settings, Memory(AWAY), others)
    assert events[0]["event"] == "rules.kept_refused"


def test_a_kept_file_that_is_broken_is_as_good_as_none(settings, tmp_path):
    current(settings, Memory(rules(1)))
    [kept] = (tmp_path / "state" / "rules").glob("*.json")
    kept.write_text("{ broken")
    with captured_events() as events:
        assert current(settings, Memory(rules(2))).policy.version == 2
    assert events[0]["event"] == "rules.kept_unreadable"
    assert current(settings, Memory(AWAY)).policy.version == 2


def test_a_state_folder_that_cannot_be_written_does_no_harm(settings, tmp_path):
    (tmp_path / "state").write_text("a file")
    with captured_events() as events:
        assert current(settings, Memory(rules(1))).policy.version == 1
    assert {"rules.not_kept", "rules.live"} <= {event["event"] for event in events}


def test_a_slow_process_does_not_put_older_rules_back(tmp_path):
    def kept(text, moment):
        return Kept(text=text, state=RuleState(source="s", confirmed_at=moment))

    file = KeptFile(tmp_path, "s")
    file.write(kept("new", NOW), NOW)
    file.write(kept("old", NOW - timedelta(seconds=1)), NOW - timedelta(seconds=1))
    assert file.read().text == "new"
    file.write(kept("newest", NOW + timedelta(seconds=1)), NOW + timedelta(seconds=1))
    assert file.read().text == "newest"


def test_sources_do_not_share_what_is_kept(settings):
    current(settings, Memory(rules(1)))
    other = Memory(AWAY)
    other.shown = "memory:others"
    with pytest.raises(PolicySourceError):
        current(settings, other)


def test_versions_that_do_not_grow_are_taken_and_said(settings):
    """Whoever writes past `policy push` may know why; every decision tells version and hash."""
    current(settings, Memory(rules(5)))
    with captured_events() as events:
        assert current(settings, Memory(rules(4))).policy.version == 4
    [live] = [event for event in events if event["event"] == "rules.live"]
    assert (live["before"], live["version"], live["version_grew"]) == (5, 4, False)


@pytest.mark.parametrize(
    "address",
    [
        "etcd://127.0.0.1/key",
        "etcd://127.0.0.1:2379",
        "etcd://127.0.0.1:2379/",
        "etcd://:2379/key",
        "consul://a:1,b:2/key",
        "http://127.0.0.1:80/rules.yaml",
        "block:",
        "block:Two Words",
        "file://other-host/rules.yaml",
    ],
)
def test_addresses_that_name_nothing(address):
    with pytest.raises(PolicyError) as caught:
        open_source(address, RuleSourceSettings())
    assert caught.value.code == "policy.source_invalid"


@pytest.mark.parametrize("address", ["etcd://root:hunter2@127.0.0.1:2379/k", "consul://:hunter2@127.0.0.1:8500/k"])
def test_a_password_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(PolicyError) as caught:
        open_source(address, RuleSourceSettings())
    assert "hunter2" not in str(caught.value)
    assert "FACEFLOW_RULE_SOURCE__" in caught.value.message


def test_addresses_are_shown_as_they_were_given(tmp_path):
    for address in (
        "etcd://127.0.0.1:2379/a/b",
        "etcds://one.example:2379,[::1]:2379/k",
        "consul://consul:8500/k",
        "consuls://consul:8501/k",
        str(tmp_path / "rules.yaml"),
    ):
        assert open_source(address, RuleSourceSettings()).shown == address
    assert open_source(f"file://{tmp_path}/a%20b.yaml", RuleSourceSettings()).shown == f"{tmp_path}/a b.yaml"


def test_certificates_that_are_none_are_named(tmp_path):
    with pytest.raises(PolicyError, match="certificate files"):
        open_source("etcds://127.0.0.1:2379/k", RuleSourceSettings(tls_authority=tmp_path / "none.pem"))


def test_no_address_at_all(settings):
    with pytest.raises(PolicyError) as caught:
        asyncio.run(current_policy(settings, POOLS))
    assert caught.value.code == "policy.rules_missing"


def push(source, text):
    return asyncio.run(push_rules(source, text, POOLS, "new.json"))


def failed(source, text):
    with pytest.raises((PolicyError, PolicySourceError)) as caught:
        push(source, text)
    return caught.value


def test_pushing():
    source = Memory()
    assert push(source, rules(3)).replaced is None
    done = push(source, rules(4))
    assert (done.policy.version, done.replaced, done.revision, done.unchanged) == (4, 3, "2", False)
    again = push(source, rules(4))
    assert (again.unchanged, source.number) == (True, 2)
    for text in (rules(4, pool="isolated-k8s"), rules(3)):
        error = failed(source, text)
        assert (error.code, error.fields) == (
            "policy.version_not_grown",
            {"version": json.loads(text)["version"], "there": 4},
        )
    assert failed(source, rules(5, pool="mars")).code == "policy.invalid"
    assert json.loads(source.held)["version"] == 4, "nothing of it was written"


def test_pushing_over_broken_rules():
    assert push(Memory("version: 7\nrules: 3"), rules(8)).replaced == 7
    assert failed(Memory("version: 7\nrules: 3"), rules(6)).code == "policy.version_not_grown"
    assert push(Memory("[ broken"), rules(1)).replaced is None


def test_pushing_the_plain_form():
    plain = {"version": 2, "task_rules": [{"data_sensitivity": "high", "use_cloud": False}]}
    source = Memory(json.dumps({"task_rules": []}))
    assert push(source, json.dumps(plain)).replaced == 1


def test_pushing_in_the_same_moment_as_somebody_else():
    class Raced(Memory):
        async def push(self, content, replaces):
            self.number += 1
            return await super().push(content, replaces)

    assert failed(Raced(rules(1)), rules(2)).code == "policy.changed_meanwhile"
    assert failed(Memory(AWAY), rules(2)).code == "policy.source_failed"


def test_settings_name_the_source(tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(rules(3))
    settings = Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path), routing=RoutingSettings(rules=str(path))
    )
    live = asyncio.run(current_policy(settings, POOLS))
    assert (live.policy.version, live.state.source) == (3, str(path))
