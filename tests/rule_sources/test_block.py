"""The Prefect block: its sections as rules, a document there and back, and what the form cannot hold."""

from __future__ import annotations

import asyncio
import json
import re
from random import Random
from uuid import uuid4

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.infrastructure.machine.server.lease import running_server
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.loading import check_policy, load_policy
from faceflow.infrastructure.routing_settings import RoutingSettings
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.rules import current_policy, open_source
from faceflow.infrastructure.sources.rules.pushing import push_rules
from faceflow.infrastructure.sources.rules.rule_source import ChangedMeanwhileError, RuleSourceError
from faceflow.infrastructure.sources.source_settings import RuleSourceSettings
from faceflow.settings import PathSettings
from tests.routing.worlds import POLICIES, canonical, job, random_policy, snapshot
from tests.rule_sources.test_following import rules
from tests.servers import asked

CANONICAL, POOLS = canonical()


def block(**fields):
    from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

    return RoutingPolicy(**fields)


def as_policy(one):
    return load_policy(json.dumps(one.to_document()), POOLS, "block")


def in_sections():
    """The canonical policy as somebody would fill in the form."""
    document = yaml.safe_load((POLICIES / "canonical.yaml").read_text())
    free = [rule for rule in document["rules"] if rule["name"] in {"urgent", "campaign at peak"}]
    return block(
        version=1,
        sensitivity={
            "restricted_pools": ["isolated-k8s"],
            "private_pools": ["private-k8s", "isolated-k8s"],
            "public_pools": ["private-k8s"],
            "public_fallback": "aws-g4dn-spot, azure-t4-spot,alibaba-gn6i-spot",
            "public_max_wait_s": 60,
        },
        rules=free,
        estimates={"mean_job_gpu_s": 6},
    )


def test_the_canonical_policy_can_be_filled_in():
    policy = as_policy(in_sections())
    assert check_policy(json.dumps(in_sections().to_document()), POOLS).problems == ()
    for facts in (
        {"sensitivity": "restricted"},
        {"sensitivity": "private"},
        {},
        {"labels": {"kind": "campaign"}},
        {"deadline": "2026-11-26T18:04:00+00:00"},
        {"deadline": "2026-11-26T18:04:00+00:00", "sensitivity": "private"},
    ):
        for moment in (snapshot(), snapshot(peak_load=3, free={"private-k8s": 0})):
            ours, theirs = (decide(job(**facts), one, moment, POOLS) for one in (policy, CANONICAL))
            assert (ours.action, ours.placements) == (theirs.action, theirs.placements), facts


def test_the_budget_section():
    saving = in_sections().model_copy(
        update={
            "budget": type(in_sections().budget)(
                over_budget="refuse", cost_headroom=1.5, saving_below_usd=50, saving_pools=["private-k8s"]
            )
        }
    )
    policy = as_policy(saving)
    assert str(policy.settings.cost_headroom) == "1.5"
    names = [rule.name for rule in policy.rules]
    assert names == [
        "restricted media", "private media", "budget nearly spent", "urgent", "campaign at peak", "public media",
    ]  # fmt: skip
    assert policy.rules[-1].place.over_budget == "refuse"
    poor = decide(job(), policy, snapshot(budget_left_usd="20"), POOLS)
    assert (poor.rule, [one.pool for one in poor.placements]) == ("budget nearly spent", ["private-k8s"])
    assert decide(job(), policy, snapshot(budget_left_usd="200"), POOLS).rule == "public media"


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_any_policy_goes_through_the_block_and_stays_what_it_is(seed):
    from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

    policy = random_policy(Random(seed))
    text = policy.model_dump_json(by_alias=True, exclude_defaults=True)
    document = json.loads(re.sub(r'"(\d\d:\d\d):00"', r'"\1"', text))  # times of day as they are written in rules
    back = load_policy(json.dumps(RoutingPolicy.from_document(document).to_document()), None, "block")
    assert back.hash == policy.hash
    assert back.settings == policy.settings


@pytest.mark.parametrize(
    "document",
    [
        {"task_rules": []},
        {"version": 1, "rules": [], "more": 1},
        {"version": 0, "rules": []},
        {"version": 1, "rules": [], "settings": {"mean_job_gpu_s": -1}},
        {"version": 1, "rules": [], "settings": {"unknown": 1}},
    ],
)
def test_what_a_block_cannot_hold(document):
    from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

    with pytest.raises(ValueError, match=r"."):
        RoutingPolicy.from_document(document)


def test_the_form_explains_itself():
    """Every field has a title and a description, and no two sections share a heading."""
    from faceflow.infrastructure.sources.rules.policy_block import RoutingPolicy

    schema = RoutingPolicy.model_json_schema()
    sections = [schema["definitions" if "definitions" in schema else "$defs"][name] for name in
                ("SensitivitySection", "BudgetSection", "EstimateSection")]  # fmt: skip
    for part in sections:
        for name, field in part["properties"].items():
            assert field["title"] != name.replace("_", " ").title(), name
            assert field["description"], name
    assert len({part["title"] for part in sections}) == 3
    for name in ("version", "summary", "rules", "default_place"):
        assert schema["properties"][name]["description"]
    kind = RoutingPolicy._to_block_type()
    assert (kind.slug, kind.name) == ("routing-policy", "Routing Policy")
    assert kind.logo_url is not None
    assert "faceflow" in kind.description


@pytest.fixture
def server(shared_state, tmp_path):
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    record = running_server(Settings(paths=PathSettings(state=shared_state, scratch=tmp_path)))
    with temporary_settings({PREFECT_API_URL: record.api_url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
        yield record.api_url


@pytest.fixture
def address(server):
    return f"block:rules-{uuid4().hex[:8]}"


def test_pushing_into_a_block(address):
    source = open_source(address, RuleSourceSettings())

    async def story():
        first = await push_rules(source, (POLICIES / "canonical.yaml").read_text(), POOLS, "canonical.yaml")
        again = await push_rules(source, rules(2), POOLS, "second")
        with pytest.raises(ChangedMeanwhileError):
            await source.push(rules(3).encode(), first.revision)
        with pytest.raises(RuleSourceError, match="cannot hold"):
            await source.push(b'{"task_rules": []}', again.revision)
        return first, again, await source.load()

    first, again, found = asyncio.run(story())
    assert first.policy.hash == CANONICAL.hash
    assert (again.replaced, found.revision) == (1, again.revision)
    assert load_policy(found.content.decode(), POOLS, "block").hash == again.policy.hash


def test_what_is_in_force_is_what_the_block_says(address, tmp_path):
    asyncio.run(in_sections().asave(address.removeprefix("block:")))
    config = Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path), routing=RoutingSettings(rules=address)
    )
    live = asyncio.run(current_policy(config, POOLS))
    assert live.policy.hash == as_policy(in_sections()).hash
    assert live.state.live.hash == live.policy.hash


def test_a_form_that_is_filled_in_wrongly_is_refused(address, server, tmp_path):
    """The server takes what the form's schema cannot forbid; the rules in force stay what they were."""
    name = address.removeprefix("block:")
    document_id = asyncio.run(in_sections().asave(name))
    config = Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path), routing=RoutingSettings(rules=address)
    )
    before = asyncio.run(current_policy(config, POOLS)).policy
    for data, problem in (
        ({"version": 0}, "version"),
        ({"budget": {"over_budget": "ask"}}, "over_budget"),
        ({"sensitivity": {"restricted_pools": ["mars"]}}, "mars"),
    ):
        answer = asked("PATCH", f"{server}/block_documents/{document_id}", {"data": data, "merge_existing_data": True})
        answer.raise_for_status()
        live = asyncio.run(current_policy(config, POOLS))
        assert live.policy == before
        assert any(problem in one for one in live.state.refused.problems), live.state.refused
        asyncio.run(in_sections().asave(name, overwrite=True))
