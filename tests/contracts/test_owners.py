"""Settings and errors stand with their owner: the engine holds what it uses itself, and is handed its settings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.make_errors import error_classes
from faceflow import errors
from faceflow.infrastructure.settings import Settings
from faceflow.settings import SwapSettings

ROOT = Path(__file__).parents[2]
GROUND = {ROOT / "faceflow" / "errors.py", ROOT / "faceflow" / "settings.py"}
ENGINE = [path for path in sorted((ROOT / "faceflow").rglob("*.py")) if path not in GROUND]
"""Its modules but for those that hold settings and errors; the links to the other rooms are not followed."""
USED = {
    name
    for path in ENGINE
    for node in ast.walk(ast.parse(path.read_text()))
    for name in (
        [node.id] if isinstance(node, ast.Name) else [f".{node.attr}"] if isinstance(node, ast.Attribute) else []
    )
}
BASES = {"FaceflowError", "InputError", "FaultError"}


@pytest.mark.parametrize("group", SwapSettings.model_fields)
def test_the_engine_uses_its_own_settings(group: str) -> None:
    kind = SwapSettings.model_fields[group].annotation
    assert kind is not None
    assert f".{group}" in USED or kind.__name__ in USED, "move it to the room that uses it"


@pytest.mark.parametrize("name", sorted(set(dir(errors)) & set(error_classes()) - BASES))
def test_the_engine_raises_its_own_errors(name: str) -> None:
    """Or a protocol says that its implementations raise them, as `Store` does."""
    assert any(re.search(rf"\b{name}\b", path.read_text()) for path in ENGINE), "move it beside the code that raises it"


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_is_handed_its_settings(path: Path) -> None:
    """Two jobs of one process may have other settings, so nobody below the entrance reads them from the environment."""
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    called = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not names & {"read_settings", "current_settings"}
    assert "SwapSettings" not in called


def test_each_room_adds_its_own() -> None:
    """All groups of all owners are in the settings that programs read, and each has one owner."""
    owners = [base for base in Settings.__mro__[1:] if issubclass(base, SwapSettings)]
    added = [(group, base) for base in owners for group in base.__annotations__ if group in Settings.model_fields]
    assert sorted(group for group, _ in added) == sorted(Settings.model_fields)
    for group, base in added:
        kind = Settings.model_fields[group].annotation
        assert kind is not None
        assert kind.__module__ == base.__module__, f"{group} is described elsewhere than it is added"
