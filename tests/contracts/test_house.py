"""The folders say what is in them: in `flows/` a module is a flow, and what is imported is `faceflow.*` only."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from prefect import Flow

ROOT = Path(__file__).parents[2]
ROOMS = ("tasks", "flows", "infrastructure", "gateway")
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", FLOWS)
def test_a_module_of_flows_is_a_flow(name: str) -> None:
    module = importlib.import_module(f"faceflow.flows.{name}")
    own = {one.name for one in vars(module).values() if isinstance(one, Flow) and one.fn.__module__ == module.__name__}
    assert name.replace("_", "-") in own


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_are_reached_through_one_name(room: str) -> None:
    link = ROOT / "faceflow" / room
    assert link.is_symlink()
    assert link.resolve() == ROOT / room
    assert importlib.import_module(f"faceflow.{room}").__name__ == f"faceflow.{room}"


def test_no_file_names_a_room_as_a_package_of_its_own() -> None:
    """Ruff bans such imports; this finds them in strings, such as `python -m` and the entry points of deployments."""
    bare = re.compile(rf"""(-m"?,? ?"?|import |["'` ])({"|".join(ROOMS)})\.[a-z_]+[.:][a-z_]+""")
    searched = [
        path
        for pattern in (
            "*.toml",
            "deployments/**/*.yaml",
            "deployments/**/*.py",
            "benchmarks/*.py",
            "docs/*.md",
            "Dockerfile",
        )
        for path in ROOT.glob(pattern)
    ]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in searched
        for match in bare.finditer(path.read_text())
        if "amazonaws" not in path.read_text()[match.start() : match.end() + 40]
    ]
    assert found == []
