"""`faceflow examples` writes what the documentation refers to, and overwrites nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faceflow.gateway.cli.main import main
from tests.conftest import ROOT


def test_the_examples_are_those_of_deployments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examples", str(tmp_path / "new"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {"policies/pools.yaml", "policies/canonical.yaml", "scenarios/campaign-day.yaml", "prefect.yaml"} <= set(
        files
    )
    for file in files:
        assert (tmp_path / "new" / file).read_bytes() == (ROOT / "deployments" / file).read_bytes()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prefect.yaml").write_text("mine")
    assert main(["examples", str(tmp_path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["code"] == "output.example_exists"
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.yaml"]
    assert (tmp_path / "prefect.yaml").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["examples", str(tmp_path / "file" / "below"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["code"] == "output.not_writable"
