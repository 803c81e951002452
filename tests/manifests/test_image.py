"""The Dockerfile, as far as it can be looked at without building it; `make test-image` runs what it makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def found_in(dockerfile: Path) -> str:
    """What hadolint has to say of it."""
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run([program, "--no-color", str(dockerfile)], capture_output=True, text=True, check=False)
    assert bool(done.stdout) == bool(done.returncode), done.stderr
    return done.stdout


def test_the_dockerfile_has_nothing_that_hadolint_finds(tmp_path: Path) -> None:
    assert found_in(DOCKERFILE) == ""
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(f"{DOCKERFILE.read_text()}RUN cd /tmp && sudo apt-get install curl\n")
    assert "DL3004" in found_in(wrong)
