"""The plain form of rules that configuration centres push: `{"task_rules": [{...}]}` (row H5).

    priority           low, normal, high, urgent
    data_sensitivity   low, medium, high; or public, private, restricted
    use_cloud          false: on our own machines; true: in the cloud
    cloud_provider     aws, azure, alibaba, ... (with use_cloud)
    instance_type      g4dn.xlarge, ... (with use_cloud); a family such as g4dn will do

Each becomes an ordinary rule, in the same order. The trust wall holds as for any rule: `use_cloud` cannot send private
media anywhere that it may not go.
"""

from __future__ import annotations

from typing import Any

from faceflow.infrastructure.routing.document import Document, Problem
from faceflow.infrastructure.routing.pools import Capacity, Pool, Pools

_SENSITIVITIES = {
    "low": "public",
    "public": "public",
    "medium": "private",
    "private": "private",
    "high": "restricted",
    "restricted": "restricted",
}
_PRIORITIES = {
    "low": "low",
    "normal": "normal",
    "medium": "normal",
    "high": "high",
    "urgent": "urgent",
    "critical": "urgent",
}
_FIELDS = frozenset({"priority", "data_sensitivity", "use_cloud", "cloud_provider", "instance_type"})


def is_plain(value: Any) -> bool:
    """Whether a document is in the plain form."""
    return isinstance(value, dict) and "task_rules" in value


def from_plain_rules(document: Document, pools: Pools | None) -> tuple[dict[str, Any], list[Problem]]:
    """The same rules as an ordinary document, and what is wrong with them."""
    if pools is None:
        return {}, [document.problem("the plain form names clouds, not pools: a list of pools is needed too")]
    value = document.value
    problems = [
        document.problem("there is no such field", (name,)) for name in value if name not in {"task_rules", "version"}
    ]
    listed = value["task_rules"]
    if not isinstance(listed, list):
        return {}, [*problems, document.problem("this must be a list of rules", ("task_rules",))]
    rules = []
    for index, entry in enumerate(listed):
        rule, found = _rule(entry, index, document, pools)
        rules.append(rule)
        problems += found
    return {"version": value.get("version", 1), "description": "plain task rules", "rules": rules}, problems


def _rule(entry: Any, index: int, document: Document, pools: Pools) -> tuple[dict[str, Any], list[Problem]]:
    path = ("task_rules", index)
    if not isinstance(entry, dict):
        return {}, [document.problem("a rule must consist of keys and values", path)]
    problems = [document.problem("there is no such field", (*path, name)) for name in entry if name not in _FIELDS]
    when = {}
    for name, target, words in (
        ("priority", "priority", _PRIORITIES),
        ("data_sensitivity", "sensitivity", _SENSITIVITIES),
    ):
        if entry.get(name) is None:
            continue
        word = words.get(str(entry[name]).lower())
        if word is None:
            problems.append(document.problem(f"{entry[name]!r} is not one of {', '.join(words)}", (*path, name)))
        else:
            when[target] = [word]
    cloud = entry.get("use_cloud")
    if not isinstance(cloud, bool):
        problems.append(document.problem("this must be true or false", (*path, "use_cloud")))
    wanted = {name: entry.get(name) for name in ("cloud_provider", "instance_type")}
    if cloud is False and any(wanted.values()):
        problems.append(document.problem("a cloud is named, but use_cloud is false", path))
    fitting = [pool.name for pool in pools.pools if _fits(pool, bool(cloud), **wanted)]
    if not fitting and not problems:
        problems.append(document.problem("no pool in the list fits this", path))
    rule = {"name": f"task rule {index + 1}", "when": when, "place": {"prefer": fitting}}
    return rule, problems


def _fits(pool: Pool, cloud: bool, cloud_provider: str | None, instance_type: str | None) -> bool:
    if cloud != (pool.capacity is not Capacity.OWNED):
        return False
    if cloud_provider and pool.provider != str(cloud_provider).lower():
        return False
    family = str(instance_type).lower() if instance_type else ""
    return not family or pool.instance_type.lower() == family or pool.instance_type.lower().startswith(f"{family}.")


PLAIN_SCHEMA: dict[str, Any] = {
    "title": "Plain rules",
    "type": "object",
    "required": ["task_rules"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "integer", "minimum": 1, "default": 1},
        "task_rules": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["use_cloud"],
                "additionalProperties": False,
                "properties": {
                    "priority": {"enum": [*_PRIORITIES, None]},
                    "data_sensitivity": {"enum": [*_SENSITIVITIES, None]},
                    "use_cloud": {"type": "boolean"},
                    "cloud_provider": {"type": ["string", "null"]},
                    "instance_type": {"type": ["string", "null"]},
                },
            },
        },
    },
}
"""JSON schema of the plain form."""
