"""A group of commands whose modules are loaded when one of them runs, and not before.

Together the commands import nearly everything that there is, which takes seconds; one command needs a part of it, and
the list of commands none. So the list is a table (`Entry`), and a command's module is imported when its name was read:

    --help, completion of names      -> Listed, from the table
    running, --help of the command   -> Listed.load() -> the module -> its command or its group of commands
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list."""

    name: str
    attribute: str
    """What it is in its module: a function, or a `typer.Typer` with several commands."""
    help: str
    """The first paragraph of the help that it gives itself."""
    panel: str
    """Heading below which it is listed."""


class Listed(TyperCommand):
    """A command of which only the list's line is known."""

    def __init__(self, entry: Entry, home: str) -> None:
        super().__init__(name=entry.name, help=entry.help, rich_help_panel=entry.panel)
        self._module, self._attribute = f"{home}.{entry.name}", entry.attribute

    def load(self) -> Any:
        """The command itself, a `TyperCommand` or a `TyperGroup`. Raises what importing its module raises."""
        found: typer.Typer | Callable[..., Any] = getattr(import_module(self._module), self._attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(found)
        return get_command(alone)


class LazyGroup(TyperGroup):
    """The commands of `entries`, in their order."""

    home: ClassVar[str]
    """Package that has a module for each, of the same name."""
    entries: ClassVar[tuple[Entry, ...]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": {entry.name: Listed(entry, self.home) for entry in self.entries}})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Listed) else command, rest
