"""A rules file: what it may say, and that every mistake is pointed at by line and field."""

from __future__ import annotations

import json

import pytest

from faceflow.infrastructure.routing.document import read_document
from faceflow.infrastructure.routing.loading import check_policy, load_policy, load_pools
from faceflow.infrastructure.routing.policy_errors import PolicyError
from tests.routing.worlds import POLICIES, canonical

_, POOLS = canonical()
HEAD = "version: 1\nrules:\n"


def rules(*lines: str) -> str:
    return HEAD + "\n".join(f"  {line}" for line in lines) + "\n"


def problems(text: str) -> list[tuple[int | None, str, str]]:
    return [(one.line, one.field, one.message) for one in check_policy(text, POOLS).problems]


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        (rules("- name: a", "  place: {lock: [mars]}"), 4, "rules[0].place.lock[0]", "there is no pool 'mars'"),
        (
            rules("- name: a", "  when:", "    sensitvity: public", "  place: {hold: x}"),
            5,
            "rules[0].when.sensitvity",
            "there is no such field",
        ),
        (
            rules("- name: a", "  when:", "    sensitivity: secret", "  place: {hold: x}"),
            5,
            "rules[0].when.sensitivity[0]",
            "'public', 'private' or 'restricted'",
        ),
        (
            rules("- name: a", "  place:", "    lock: [private-k8s]", "    hold: x"),
            4,
            "rules[0].place",
            "exactly one of lock, prefer",
        ),
        (
            rules(
                "- name: a",
                "  place:",
                "    parallel:",
                "    - {pool: aws-g4dn-spot, share: 0.5}",
                "    - {pool: azure-t4-spot, share: 0.6}",
            ),
            4,
            "rules[0].place",
            "the shares must add up to 1",
        ),
        (
            rules("- name: a", "  when: {faces: {}}", "  place: {hold: x}"),
            4,
            "rules[0].when.faces",
            "give one of below",
        ),
        (
            rules("- name: a", "  when:", "    time_of_day: {from: 25:00, to: 06:00}", "  place: {hold: x}"),
            5,
            "rules[0].when.time_of_day.from",
            "22:30",
        ),
        (
            rules(
                "- name: a",
                "  when:",
                "    time_of_day: {from: 22:00, to: 06:00, timezone: Mars/Base}",
                "  place: {hold: x}",
            ),
            5,
            "rules[0].when.time_of_day.timezone",
            "is unknown",
        ),
        (
            rules("- name: a", "  place: {hold: x}", "- name: a", "  place: {hold: x}"),
            1,
            "",
            "two rules are called 'a'",
        ),
        (
            rules("- name: a", "  when: {free_gpus: {pool: mars, below: 1}}", "  place: {hold: x}"),
            4,
            "rules[0].when.free_gpus.pool",
            "there is no pool 'mars'",
        ),
        (
            rules("- name: a", "  place:", "    lock: [private-k8s]", "    lock: [aws-g4dn-spot]"),
            6,
            "rules[0].place.lock",
            "twice",
        ),
        (rules("- name: a", "  place: &x {hold: x}", "- name: b", "  place: *x"), 4, "rules[1].place", "anchors"),
        (rules("- name: a", "  place: {hold: x"), 5, "", "not YAML"),
        ("", None, "", "empty"),
        ("- 1\n", 1, "", "keys and values"),
        ("version: .nan\nrules: []\n", 1, "version", "integer"),
        ("version: 1\nrules: []\nthing: !!python/object:os.system {}\n", 3, "thing", "tag"),
    ],
)
def test_mistakes_are_pointed_at(text, line, field, says):
    found = problems(text)
    assert [(one[0], one[1]) for one in found[:1]] == [(line, field)], found
    assert says in found[0][2]
    with pytest.raises(PolicyError) as caught:
        load_policy(text, POOLS, "rules.yaml")
    assert caught.value.code == "policy.invalid"
    assert caught.value.fields["problems"][0]["line"] == line


def test_all_mistakes_at_once():
    text = rules("- name: a", "  place: {lock: [mars, venus]}", "- name: b", "  place: {lock: [pluto]}")
    assert [one[0] for one in problems(text)] == [4, 4, 5, 6], "the second rule is dead, too"


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("{}", "{sensitivity: public}", "the earlier rule 'first' takes all"),
        ("{sensitivity: [public, private]}", "{sensitivity: public, faces: {above: 2}}", "the earlier rule 'first'"),
        (
            "{deadline_slack_s: {below: 600}}",
            "{deadline_slack_s: {at_most: 300}, priority: urgent}",
            "the earlier rule 'first'",
        ),
        ("{project: 'film-*'}", "{project: [film-1, film-2]}", "the earlier rule 'first'"),
        ("{labels: {kind: [a, b]}}", "{labels: {kind: a, more: c}}", "the earlier rule 'first'"),
        (
            "{time_of_day: {from: 20:00, to: 06:00}}",
            "{time_of_day: {from: 23:00, to: 02:00}}",
            "the earlier rule 'first'",
        ),
        (
            "{free_gpus: {pool: private-k8s, below: 4}}",
            "{free_gpus: {pool: private-k8s, below: 1}}",
            "the earlier rule 'first'",
        ),
        ("{priority: low}", "{faces: {above: 3, at_most: 3}}", "nothing is"),
        ("{priority: low}", "{duration_s: {below: 0}}", "nothing is"),
        ("{priority: low}", "{time_of_day: {from: 06:00, to: 06:00}}", "between a time and itself"),
    ],
)
def test_rules_that_can_never_match_are_reported(first, second, says):
    text = rules(
        f"- {{name: first, when: {first}, place: {{hold: x}}}}",
        f"- {{name: second, when: {second}, place: {{hold: x}}}}",
    )
    checked = check_policy(text, POOLS)
    assert checked.policy is not None, "it is reported, and no reason to drop the rules"
    [found] = checked.problems
    assert (found.line, found.fatal) == (4, False)
    assert says in found.message


def test_several_rules_together_can_take_everything():
    text = rules(
        *(
            f"- {{name: {name}, when: {{sensitivity: {name}}}, place: {{hold: x}}}}"
            for name in ("public", "private", "restricted")
        ),
        "- {name: last, place: {hold: x}}",
    )
    [(line, _, message)] = problems(text)
    assert line == 6
    assert "the earlier rules 'public', 'private', 'restricted' together" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{sensitivity: public}", "{}"),
        ("{deadline_slack_s: {below: 300}}", "{deadline_slack_s: {at_most: 300}}"),
        ("{project: film-1}", "{project: 'film-*'}"),
        ("{labels: {kind: a}}", "{labels: {other: a}}"),
        ("{free_gpus: {pool: private-k8s, below: 4}}", "{free_gpus: {pool: isolated-k8s, below: 1}}"),
        ("{time_of_day: {from: 06:00, to: 20:00}}", "{time_of_day: {from: 19:00, to: 21:00}}"),
        (
            "{deadline_slack_s: {below: 300}}",
            "{deadline_slack_s: {below: -5}, faces: {below: 3}, peak_load: {above: 1}}",
        ),
    ],
)
def test_living_rules_are_not_called_dead(first, second):
    text = rules(
        f"- {{name: first, when: {first}, place: {{hold: x}}}}",
        f"- {{name: second, when: {second}, place: {{hold: x}}}}",
    )
    last = "below: -5" in second  # that one is dead: less than -5 s is less than 300 s
    assert bool(problems(text)) is last


def test_a_rule_that_the_wall_makes_pointless_is_reported():
    text = rules("- name: a", "  when: {sensitivity: restricted}", "  place: {lock: [aws-g4dn-spot, private-k8s]}")
    [(line, field, message)] = problems(text)
    assert (line, field) == (5, "rules[0].place")
    assert "restricted media may enter none of these pools" in message


def test_the_hash_is_of_the_content():
    text = (POLICIES / "canonical.yaml").read_text()
    policy = load_policy(text, POOLS, "yaml")
    as_json = json.dumps(read_document(text).value, indent="\t")
    assert load_policy(as_json, POOLS, "json").hash == policy.hash
    assert load_policy("# a remark\n" + text, POOLS, "yaml").hash == policy.hash
    assert load_policy(text.replace("max_wait_s: 60", "max_wait_s: 61"), POOLS, "yaml").hash != policy.hash


def test_a_changed_copy_remembers_nothing_of_the_old_one():
    policy, pools = canonical()
    old = policy.hash
    assert policy.model_copy(update={"version": 2}).hash != old
    assert set(pools.model_copy(update={"pools": pools.pools[:2]}).by_name) == {pool.name for pool in pools.pools[:2]}
    place = policy.rules[0].place
    assert place.pool_names == ("isolated-k8s",)
    assert place.model_copy(update={"lock": ("private-k8s",)}).pool_names == ("private-k8s",)


def test_words_that_only_look_like_values_stay_words():
    document = read_document('{a: on, b: 22:00, c: no, d: "7", e: 7, f: 0.5, g: true, h: null, i: 1e3, j: 0x10}')
    assert document.value == {
        "a": "on", "b": "22:00", "c": "no", "d": "7", "e": 7, "f": 0.5, "g": True, "h": None, "i": 1000.0, "j": "0x10",
    }  # fmt: skip


PLAIN = {
    "task_rules": [
        {"priority": "high", "data_sensitivity": "low", "use_cloud": True, "cloud_provider": "aws",
         "instance_type": "g4dn.xlarge"},
        {"priority": "low", "data_sensitivity": "high", "use_cloud": False},
        {"data_sensitivity": "medium", "use_cloud": True, "cloud_provider": "azure"},
    ]
}  # fmt: skip


def test_the_plain_form():
    checked = check_policy(json.dumps(PLAIN), POOLS)
    assert checked.policy is not None
    first, second, third = checked.policy.rules
    assert (first.when.priority, first.when.sensitivity) == (("high",), ("public",))
    assert first.place.prefer == ("aws-g4dn-spot", "aws-g4dn-on-demand")
    assert (second.when.sensitivity, second.place.prefer) == (("restricted",), ("isolated-k8s", "private-k8s"))
    assert third.place.prefer == ("azure-t4-spot", "azure-t4-on-demand")
    [warning] = checked.problems
    assert "private media may enter none of these pools" in warning.message


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"priority": "soon"}, "task_rules[0].priority", "not one of low"),
        ({"use_cloud": "yes"}, "task_rules[0].use_cloud", "true or false"),
        ({"cloud_provider": "moon"}, "task_rules[0]", "no pool in the list fits"),
        ({"use_cloud": False}, "task_rules[0]", "use_cloud is false"),
        ({"region": "eu"}, "task_rules[0].region", "no such field"),
    ],
)
def test_mistakes_in_the_plain_form(change, field, says):
    text = json.dumps({"task_rules": [{**PLAIN["task_rules"][0], **change}]}, indent=1)
    [(line, at, message)] = problems(text)
    assert at == field
    assert line is not None
    assert line >= 3
    assert says in message


def test_pools_are_checked_too():
    text = (POLICIES / "pools.yaml").read_text()
    with pytest.raises(PolicyError) as caught:
        load_pools(text.replace("zone: isolated", "zone: island"), "pools.yaml")
    assert caught.value.fields["problems"][0]["field"] == "pools[0].zone"
    assert caught.value.fields["problems"][0]["line"] == text.splitlines().index("    zone: isolated") + 1
    for wrong in ("on_demand: mars", "on_demand: azure-t4-spot"):
        with pytest.raises(PolicyError):
            load_pools(text.replace("on_demand: azure-t4-on-demand", wrong), "pools.yaml")
