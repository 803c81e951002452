"""The guides tell the truth about the tree: paths, modules, commands and targets that they name exist."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from faceflow.gateway.cli.lazy_group import Listed
from faceflow.gateway.cli.main import app

ROOT = Path(__file__).parents[2]
GUIDES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = (
    "faceflow",
    "tasks",
    "flows",
    "infrastructure",
    "gateway",
    "deployments",
    "benchmarks",
    "tests",
    "docs",
    "requirements",
)
PATH = re.compile(rf"(?<![\w/.-])(?:\.\./)?((?:{'|'.join(FOLDERS)}|\.ci)/[\w./*-]+)")
MODULE = re.compile(r"(?<![\w/.-])(faceflow(?:\.\w+)+)")
PYTHON_M = re.compile(r"python -m ((?:benchmarks|tests)[\w.]+)")
MAKE = re.compile(r"`make ([a-z-]+)|^\s*make ([a-z-]+)", re.MULTILINE)
COMMAND = re.compile(r"^\s*faceflow ((?:[a-z]+(?:-[a-z]+)*)(?: [a-z]+(?:-[a-z]+)*)?)((?: [^\n]*)?)", re.MULTILINE)
COMMENT = re.compile(r"\s#.*")
NOT_MODULES = {"faceflow.db", "faceflow.image", "faceflow.svc", "faceflow.io"}
"""What begins like a module and is a file, an event, a host or a label."""
NOT_PATHS = {"faceflow/pool", "deployments/compose/.env"}
"""A label of nodes; a file that the reader makes."""


@cache
def commands() -> dict[str, Any]:
    """Every command by its words, groups included: `policy`, `policy check`."""
    program: Any = get_command(app)
    return _below(program, "")


def _below(group: Any, before: str) -> dict[str, Any]:
    context = group.context_class(group)
    found: dict[str, Any] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, Listed):
            command = command.load()
        found[before + name] = command
        if hasattr(command, "list_commands"):
            found |= _below(command, f"{before}{name} ")
    return found


def codes(text: str) -> str:
    """What stands in backquotes and in fenced blocks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*fenced, *inline])


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_paths_that_a_guide_names_exist(guide: Path) -> None:
    named = {match.rstrip(".") for match in PATH.findall(codes(guide.read_text()))}
    assert [path for path in sorted(named) if path not in NOT_PATHS and not any(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_modules_that_a_guide_names_exist(guide: Path) -> None:
    named = {name for name in MODULE.findall(guide.read_text()) if ".".join(name.split(".")[:2]) not in NOT_MODULES}
    named |= set(PYTHON_M.findall(guide.read_text()))
    assert [name for name in sorted(named) if not is_there(name)] == []


def is_there(name: str) -> bool:
    """Whether it is a module, or a name at the end of one."""
    module, _, last = name.rpartition(".")
    try:
        if importlib.util.find_spec(name) is not None:
            return True
    except ModuleNotFoundError:
        pass
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return False
    if found is None or found.origin is None or found.submodule_search_locations:
        return False
    return (
        re.search(rf"^(class|def|async def) {last}\b|^{last}\b", Path(found.origin).read_text(), re.MULTILINE)
        is not None
    )


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_targets_that_a_guide_names_exist(guide: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {first or second for first, second in MAKE.findall(codes(guide.read_text()) + "\n" + guide.read_text())}
    assert named <= targets, sorted(named - targets)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_commands_and_options_that_a_guide_names_exist(guide: Path) -> None:
    wrong = []
    for words, rest in COMMAND.findall(COMMENT.sub("", codes(guide.read_text()))):
        first = words.partition(" ")[0]
        is_group = hasattr(commands().get(first), "list_commands")
        command = commands().get(words if is_group else first)
        if command is None:
            wrong.append(f"faceflow {words}")
            continue
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
        wrong += [
            f"faceflow {words} ... {option}"
            for option in re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest)
            if option not in options
        ]
    assert wrong == []
