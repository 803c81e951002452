"""What differs between a server and what is wanted of it, in facts that can be shown and compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Facts = Mapping[str, Any]


class Action(StrEnum):
    """What is done about a difference."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    WAIT = "wait"
    """Nothing yet: runs of a pool that was renamed have to end first."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a server should know.

    Attributes:
        kind: `work pool`, `work queue`, `deployment`, `automation` or `block type`.
        name: how it is called.
        wanted: facts about it, ready for JSON.
        present: the same facts as the server has them; None where it does not know the thing.
        put: creates it or brings it up to date.
    """

    kind: str
    name: str
    wanted: Facts
    present: Facts | None
    put: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `fields` holds, by the fact's name, what it was and what it becomes."""

    kind: str
    name: str
    action: Action
    reason: str = ""
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """One JSON-ready object."""
        fields = [{"field": name, "before": before, "after": after} for name, (before, after) in self.fields.items()]
        shown = {"kind": self.kind, "name": self.name, "action": str(self.action), "reason": self.reason}
        return {**shown, "fields": fields}


def difference(item: Item) -> Change | None:
    """What has to be done about `item`; None where the server has it as it should be."""
    if item.present is None:
        return Change(item.kind, item.name, Action.CREATE)
    present = item.present
    fields = {name: (present.get(name), value) for name, value in item.wanted.items() if present.get(name) != value}
    return Change(item.kind, item.name, Action.UPDATE, fields=fields) if fields else None
