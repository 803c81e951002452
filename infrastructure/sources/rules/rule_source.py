"""What every source of rules can do: give the text that is in force, wait for another one, and take a new one.

A source never raises what its library raises: it raises `RuleSourceError`, which says in plain words what happened,
without secrets. It does not judge the text; that is done in one place for all of them (`policy_keeper`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from faceflow.errors import FaultError


class PolicySourceError(FaultError):
    """The source of routing rules gave none, or did not take new ones."""

    family = "policy"
    retryable = True


@dataclass(frozen=True, slots=True)
class RulesText:
    """Rules as they lie in a source.

    Attributes:
        content: the bytes, as they came; UTF-8 where they are in order.
        revision: the source's own name for this state of them (a modification number, a hash). Two states never share
            one; it is compared for equality only.
        problems: mistakes that the source saw itself (a form not filled in rightly); then `content` is not read.
    """

    content: bytes
    revision: str
    problems: tuple[str, ...] = ()


class RuleSource(Protocol):
    """A place that holds one rules text.

    Every method may be cancelled at any moment, and may be called again after it failed.
    """

    @property
    def shown(self) -> str:
        """The address for messages and records, without secrets."""
        ...

    async def load(self) -> RulesText:
        """The text that is there now.

        Raises:
            RuleSourceError: the source does not answer, or (`absent`) holds no rules.
        """
        ...

    async def wait_for_change(self, revision: str) -> None:
        """Returns as soon as the source may hold something else than `revision`; `load` then tells.

        Raises:
            RuleSourceError: the source does not answer, or not any more.
        """
        ...

    async def push(self, content: bytes, replaces: str | None) -> str:
        """Puts `content` in the place of the revision `replaces` (None: where nothing is yet). Gives its revision.

        Raises:
            ChangedMeanwhileError: something else is there by now; nothing was written.
            RuleSourceError: the source does not answer or does not take it.
        """
        ...

    async def close(self) -> None:
        """Gives connections back."""
        ...


class RuleSourceError(Exception):
    """Why a source gave or took no rules.

    Args:
        reason: in plain words, without secrets.
        absent: whether the source answered, and there are no rules at this address.
    """

    def __init__(self, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.absent = absent


class ChangedMeanwhileError(Exception):
    """Another text came into the source between reading and writing."""
