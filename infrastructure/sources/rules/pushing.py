"""Puts new rules into a source: checked first, with a version that grew, and only over what was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from faceflow.infrastructure.routing.document import Problem, read_document
from faceflow.infrastructure.routing.loading import check_policy, invalid
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.sources.rules.rule_source import (
    ChangedMeanwhileError,
    PolicySourceError,
    RuleSource,
    RuleSourceError,
    RulesText,
)


@dataclass(frozen=True, slots=True)
class Pushed:
    """Rules that are in a source now.

    Attributes:
        policy: the rules.
        revision: the source's own name for them.
        replaced: version of what was there before; None where nothing was, or nothing that has a version.
        unchanged: whether the very same text was there already, so that nothing was written.
        notes: problems that are not fatal, such as a rule that never matches.
    """

    policy: Policy
    revision: str
    replaced: int | None
    unchanged: bool
    notes: tuple[Problem, ...]


async def push_rules(source: RuleSource, text: str, pools: Pools, origin: str) -> Pushed:
    """Puts the rules `text` into `source`.

    Args:
        source: where they shall lie.
        text: the rules (YAML or JSON), written as they are.
        pools: the list of pools with which they are checked.
        origin: how messages call the text.

    Raises:
        PolicyError: `policy.invalid`, with every problem; `policy.version_not_grown`; `policy.changed_meanwhile`.
        PolicySourceError: `policy.source_failed`.
    """
    checked = check_policy(text, pools)
    if checked.policy is None:
        raise invalid(origin, checked.problems)
    try:
        there = await _there(source)
        replaced = None if there is None else _version(there)
        if there is not None and there.content == text.encode():
            return Pushed(checked.policy, there.revision, replaced, unchanged=True, notes=checked.problems)
        if replaced is not None and checked.policy.version <= replaced:
            raise PolicyError(
                "policy.version_not_grown",
                f"{origin} has version {checked.policy.version}; {source.shown} holds version {replaced}.",
                f"Raise `version` to {replaced + 1} or more, so that every decision shows which rules it followed.",
                version=checked.policy.version,
                there=replaced,
            )
        revision = await source.push(text.encode(), None if there is None else there.revision)
    except ChangedMeanwhileError:
        raise PolicyError(
            "policy.changed_meanwhile",
            f"Someone else pushed rules to {source.shown} at the same moment; nothing was written.",
            "Check the current rules (`faceflow policy show`), then push again.",
        ) from None
    except RuleSourceError as error:
        raise PolicySourceError(
            "policy.source_failed",
            f"The rules could not be pushed to {source.shown}: {error.reason}.",
            "Check the address, that the store is running, and its credentials (FACEFLOW_RULE_SOURCE__...); then "
            "push again.",
            source=source.shown,
        ) from error
    return Pushed(checked.policy, revision, replaced, unchanged=False, notes=checked.problems)


async def _there(source: RuleSource) -> RulesText | None:
    try:
        return await source.load()
    except RuleSourceError as error:
        if error.absent:
            return None
        raise


def _version(there: RulesText) -> int | None:
    """The version of what is there, also where it has mistakes."""
    value = read_document(there.content.decode("utf-8", "replace")).value
    if not isinstance(value, dict):
        return None
    version = value.get("version", 1 if "task_rules" in value else None)
    return version if isinstance(version, int) and not isinstance(version, bool) else None
