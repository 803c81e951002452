"""From a text to a policy or a list of pools that can be used, or to every problem that it has, with line and field.

A policy with a fatal problem is never used: the watcher of new rules keeps the last good ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from faceflow.infrastructure.routing.document import Document, Problem, read_document
from faceflow.infrastructure.routing.plain_rules import from_plain_rules, is_plain
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.reachability import never_matching, placing_nothing, unknown_pools

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Checked:
    """A text that was read: the policy, unless it has fatal problems, and all problems."""

    policy: Policy | None
    problems: tuple[Problem, ...]


def check_policy(text: str, pools: Pools | None) -> Checked:
    """Reads the rules of a text and says everything that is wrong with them.

    Without `pools`, whether the pools that rules name exist is not checked, and the plain form cannot be read.
    """
    document = read_document(text)
    problems = list(document.problems)
    value = document.value
    if problems:
        return Checked(None, tuple(problems))
    plain = is_plain(value)
    if plain:
        value, problems = from_plain_rules(document, pools)
        if problems:
            return Checked(None, tuple(problems))
    policy, problems = _validated(Policy, value, document)
    if policy is None:
        return Checked(None, tuple(problems))
    if pools is not None:
        problems += [document.problem(*finding) for finding in unknown_pools(policy, pools)]
        problems += [document.problem(*finding, fatal=False) for finding in placing_nothing(policy, pools)]
    found = list(never_matching(policy))
    if plain:  # the rules stand under another key there
        found = [(message, ("task_rules", *path[1:2])) for message, path in found]
    problems += [document.problem(*finding, fatal=False) for finding in found]
    problems.sort(key=lambda problem: (problem.line or 0, problem.field))
    return Checked(None if any(problem.fatal for problem in problems) else policy, tuple(problems))


def load_policy(text: str, pools: Pools | None, origin: str) -> Policy:
    """The policy in a text.

    Raises:
        PolicyError: `policy.invalid`, with every problem in its fields.
    """
    checked = check_policy(text, pools)
    if checked.policy is None:
        raise invalid(origin, checked.problems)
    return checked.policy


def load_pools(text: str, origin: str) -> Pools:
    """The list of pools in a text.

    Raises:
        PolicyError: `policy.invalid`, with every problem in its fields.
    """
    return load_model(Pools, text, origin)


def load_model(kind: type[ModelT], text: str, origin: str) -> ModelT:
    """Any model of this package from a YAML or JSON text.

    Raises:
        PolicyError: `policy.invalid`, with every problem in its fields.
    """
    document = read_document(text)
    problems: Sequence[Problem] = document.problems
    loaded = None
    if not problems:
        loaded, problems = _validated(kind, document.value, document)
    if loaded is None:
        raise PolicyError(
            "policy.invalid",
            f"{origin} cannot be used: {_listed(problems)}",
            "Correct the lines listed; docs/routing.md describes each file, docs/deploying.md the list of pools.",
            problems=[problem.to_dict() for problem in problems],
        )
    return loaded


def invalid(origin: str, problems: Sequence[Problem]) -> PolicyError:
    """The error that names every problem of a rules file."""
    return PolicyError(
        "policy.invalid",
        f"{origin} cannot be used: {_listed(problems)}",
        "Correct the lines listed; `faceflow policy schema` prints the format of a rules file.",
        problems=[problem.to_dict() for problem in problems],
    )


def _listed(problems: Sequence[Problem]) -> str:
    return "; ".join(str(problem) for problem in problems[:5]) + ("; ..." if len(problems) > 5 else "")


def _validated(kind: type[ModelT], value: Any, document: Document) -> tuple[ModelT | None, list[Problem]]:
    if not isinstance(value, dict):
        return None, [document.problem("the text must consist of keys and values")]
    try:
        return kind.model_validate(value), []
    except ValidationError as error:
        return None, [
            document.problem(_in_words(detail), detail["loc"])
            for detail in error.errors(include_url=False, include_context=False)
        ]


def _in_words(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "there is no such field"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]
