"""What runs while `faceflow up` runs: one of it for all tests of this folder, on a server of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Program, Up, running_state, start_up


@pytest.fixture(scope="package")
def shared_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose server runs for all tests of the folder."""
    with running_state(tmp_path_factory.mktemp("state")) as state:
        yield state


@pytest.fixture(scope="package")
def up(shared_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`faceflow up` on the server of this folder, for all tests of the folder.

    It is started in a folder such as many projects have, with packages named like the rooms of this repository.
    """
    scratch = tmp_path_factory.mktemp("up") / "scratch"
    for name in ("flows", "tasks", "infrastructure", "gateway"):
        (scratch.parent / name).mkdir()
        (scratch.parent / name / "__init__.py").touch()
    up = start_up(Program(shared_state, scratch), FACEFLOW_LOG__LEVEL="info")
    yield up
    up.process.send_signal(signal.SIGTERM)
    stdout, stderr = up.process.communicate(timeout=30)
    assert (up.process.returncode, stdout) == (0, ""), stderr
