"""Limits of the process (`ulimit -n`, `-v`, `-f`): a command does what it can or says which limit it met.

Varied: the command, the limit, how tight it is, from "not even the imports" to "nearly enough". Never a traceback nor
`fault.unexpected`, and with `--json` an answer or nothing at all, never half of one.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.faces import ASTRONAUT

MIB = 2**20
LIMITS = {
    "12 files": (resource.RLIMIT_NOFILE, 12),
    "24 files": (resource.RLIMIT_NOFILE, 24),
    "48 files": (resource.RLIMIT_NOFILE, 48),
    "150 MiB": (resource.RLIMIT_AS, 150 * MIB),
    "500 MiB": (resource.RLIMIT_AS, 500 * MIB),
    "900 MiB": (resource.RLIMIT_AS, 900 * MIB),
    "1500 MiB": (resource.RLIMIT_AS, 1500 * MIB),
    "files of no size": (resource.RLIMIT_FSIZE, 0),
    "files of 1 KiB": (resource.RLIMIT_FSIZE, 1024),
}
COMMANDS = {
    "doctor": ["doctor"],
    "models": ["models", "list"],
    "faces": ["faces", "face.png"],
    "budget": ["budget", "set", "film", "5"],
}


@pytest.mark.full
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_under_a_limit(command: str, limit: str, offline_program: Program, tmp_path: Path) -> None:
    shutil.copy(ASTRONAUT, tmp_path / "face.png")
    which, amount = LIMITS[limit]
    done = subprocess.run(
        [sys.executable, "-m", "faceflow.gateway.program", *COMMANDS[command], "--json"],
        cwd=tmp_path,
        env={**offline_program.environment, "FACEFLOW_LOG__FORMAT": "human", "FACEFLOW_LOG__LEVEL": "warning"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(which, (amount, amount)),
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said[-2000:]
    assert "fault.unexpected" not in said, said[-2000:]
    assert done.returncode in (0, 1), said[-2000:]
    answer = json.loads(done.stdout) if done.stdout else {}
    if done.returncode == 1 and "healthy" not in answer:
        assert "code" in answer or "error fault." in done.stderr, said[-2000:]
        assert answer.get("code", "fault.").startswith(("fault.", "engine.", "output.", "store.", "database.")), answer
