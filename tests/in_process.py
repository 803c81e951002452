"""The program's commands, run in this process: a hundred of them cost what one process costs.

A command that waits for ever is broken off and fails the test that gave it. The commands and their options are read
from the command line itself, so that a sweep over them meets every new one.
"""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any
from unittest.mock import patch

from typer.main import get_command

from faceflow.gateway.cli import main as program
from faceflow.gateway.cli.lazy_group import Listed
from faceflow.infrastructure.settings import current_settings
from faceflow.streams import NAMES
from tests.conftest import Finished

LONGEST_S = 60.0
"""A command that takes so long here waits for something that does not come."""


class Hangs(BaseException):
    """A command did not come to its end. No `except Exception` of the program's takes it for something else."""


def given(arguments: list[str], longest_s: float = LONGEST_S) -> Finished:
    """Runs one command, with today's environment, and gives what it said."""
    current_settings.cache_clear()
    before = dict(os.environ)
    out, err = _stream(), _stream()
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            _bounded(arguments, longest_s),
            patch.object(program, "app", _tree()),
        ):
            exit_code = program.main(arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)
        current_settings.cache_clear()
    return Finished(exit_code, _text(out), _text(err))


@cache
def _tree() -> Any:
    """The command line with all commands loaded; making them anew takes most of the time of a refused command."""
    tree: Any = get_command(program.app)
    for name, command in tree.commands.items():
        if isinstance(command, Listed):
            tree.commands[name] = command.load()
    return tree


def code_of(finished: Finished) -> str:
    """The error code that a command with `--json` told, empty where it told none."""
    lines = finished.stdout.splitlines()
    answer = json.loads(lines[-1]) if lines else {}
    return str(answer.get("code", "")) if isinstance(answer, dict) else ""


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=NAMES, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(errors="surrogateescape")


@contextmanager
def _bounded(arguments: list[str], longest_s: float) -> Iterator[None]:
    def end(_signal: int, _frame: FrameType | None) -> None:
        raise Hangs(f"after {longest_s} s: {[word[:80] for word in arguments]!r}")

    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, longest_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command.

    Attributes:
        name: `--crf`, or the name of the argument in capitals.
        argument: its place among the command's arguments, None for an option.
        flag: whether it takes no value.
    """

    name: str
    argument: int | None
    flag: bool
    required: bool
    several: bool


@dataclass(frozen=True)
class Command:
    """A command of the program: the words that name it, and what can be given to it."""

    words: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    @property
    def takes_json(self) -> bool:
        """Whether it can answer as JSON."""
        return any(one.name == "--json" for one in self.parameters)


def commands() -> dict[str, Command]:
    """Every command of the program by its words, as the command line itself lists them."""
    return {" ".join(one.words): one for one in _below(_tree(), ())}


def _below(command: Any, words: tuple[str, ...]) -> Iterator[Command]:
    if hasattr(command, "list_commands"):
        # Loaders of commands may ask for the context, which they get from a real call alone.
        context = command.make_context(words[-1] if words else "faceflow", [], resilient_parsing=True)
        for name in command.list_commands(context):
            yield from _below(command.get_command(context, name), (*words, name))
        return
    place = 0
    found = []
    for one in command.params:
        is_argument = one.param_type_name == "argument"
        found.append(
            Parameter(
                name=str(one.name).upper() if is_argument else max(one.opts, key=len),
                argument=place if is_argument else None,
                flag=bool(getattr(one, "is_flag", False)),
                required=bool(one.required),
                several=bool(getattr(one, "multiple", False)) or one.nargs == -1,
            )
        )
        place += is_argument
    yield Command(words, tuple(found))


__all__ = ["Command", "Finished", "Hangs", "Parameter", "code_of", "commands", "given"]
