"""The program starts cheaply: it loads what a command needs, and lists and completes commands without loading them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from faceflow.gateway.cli.lazy_group import Listed
from faceflow.gateway.cli.main import Commands, app
from faceflow.infrastructure.machine.server.python_variables import python_variables

PROGRAM = Path(sys.executable).parent / "faceflow"
LOADED = """
import sys
sys.argv = ["faceflow", *sys.argv[1:]]
from faceflow.gateway.program import run
try:
    run()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sys.modules, file=sys.stderr)
"""
HEAVY = {"numpy", "scipy", "cv2", "av", "PIL", "prefect", "pydantic", "sqlalchemy", "httpx", "structlog", "asyncio"}
"""What takes longer to load than a list of commands may take."""


def loaded_by(tmp_path: Path, *arguments: str) -> tuple[str, set[str]]:
    """What a start prints, and the modules that are loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, set(done.stderr.split())


def environment(home: Path) -> dict[str, str]:
    """Such that the program need not start Python again."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **python_variables(os.environ)}


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_what_needs_no_command_loads_none(argument: str, tmp_path: Path) -> None:
    said, modules = loaded_by(tmp_path, argument)
    assert "faceflow" in said
    assert "faceflow.gateway.cli.main" in modules  # the list is one of modules
    assert modules & HEAVY == set()
    commands = {f"faceflow.gateway.cli.{entry.name}" for entry in Commands.entries}
    assert modules & (commands | {"faceflow.settings", "faceflow.log"}) == set()


@pytest.mark.parametrize("entry", Commands.entries, ids=lambda entry: entry.name)
def test_the_list_says_of_a_command_what_it_says_of_itself(entry) -> None:
    command = Listed(entry, Commands.home).load()
    said = (command.short_help or command.help).split("\n\n")[0]
    assert entry.help == " ".join(said.split())


def test_the_list_is_whole_and_in_panels() -> None:
    """Every module with commands of its own is in the list, unless it is a part of one that is."""
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert [shown.index(f" {entry.panel} ─") for entry in Commands.entries] == sorted(
        shown.index(f" {entry.panel} ─") for entry in Commands.entries
    )
    folder = Path(import_module(Commands.home).__file__ or "").parent
    listed = {entry.name for entry in Commands.entries}
    for path in folder.glob("*.py"):
        module = import_module(f"{Commands.home}.{path.stem}") if path.stem not in {"__init__", "main"} else None
        offers = [one for one in vars(module or object).values() if isinstance(one, Typer)] if module else []
        own = getattr(module, path.stem, None)
        if offers or (callable(own) and getattr(own, "__module__", "") == getattr(module, "__name__", None)):
            assert path.stem in listed, path.stem


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("faceflow pol", ["policy"]),
        ("faceflow policy ex", ["explain"]),
        ("faceflow swap --segm", ["--segment-length"]),
        ("faceflow swap --preset ultra", ["ultrafast"]),
    ],
)
def test_what_is_typed_is_completed(typed: str, offered: list[str], tmp_path: Path) -> None:
    asked = {"_FACEFLOW_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        [PROGRAM], env=environment(tmp_path) | asked, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == offered, done.stderr


def test_bash_completes_with_what_the_program_prints_and_installs(tmp_path: Path) -> None:
    script = """
        faceflow --install-completion >&2; eval "$(faceflow --show-completion)"
        COMP_WORDS=(faceflow dec); COMP_CWORD=1; _faceflow_completion faceflow; echo "${COMPREPLY[@]}"
    """
    searched = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment(tmp_path) | searched,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.split() == ["decision"], done.stderr
    assert "faceflow" in (tmp_path / ".bashrc").read_text()


@pytest.mark.parametrize("words", [[], ["policy"], ["models"]])
def test_without_a_command_the_list_is_shown_and_the_reason_told(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from faceflow.gateway.cli.main import main

    assert main([*words]) == 2
    said = capsys.readouterr()
    assert "No command was given." in said.out + said.err
