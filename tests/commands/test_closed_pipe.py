"""Standard streams that are closed, full, or read by nobody: no traceback, and an exit code that tells the truth.

An answer that did not arrive is a command that failed, with words where standard error can take them; remarks that
nobody can read are no reason to fail. A reader that has gone, as `head` does, deserves no words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Program

PROGRAM = (sys.executable, "-m", "faceflow.gateway.program")
NOT_PRINTED, UNKNOWN = "fault.not_printed", "model.unknown"
GOOD, BAD = ("models", "list"), ("models", "path", "no-such-model")


def redirected(program: Program, arguments: tuple[str, ...], redirection: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the program through a shell, which closes and redirects before the program starts."""
    environment = {**program.environment, "FACEFLOW_LOG__FORMAT": "human"}
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("models", "list"), ("models", "path", "no-such-model", "--json")])
def test_a_closed_pipe_ends_the_program_quietly(offline_program: Program, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PROGRAM, *arguments]
    try:
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, env=offline_program.environment, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert done.returncode in (1, 2)
    assert b"BrokenPipe" not in done.stderr
    assert b"unexpected" not in done.stderr


@pytest.mark.parametrize(
    ("redirection", "arguments", "exit_code", "said"),
    [
        (">&-", GOOD, 1, NOT_PRINTED),
        (">&-", (*GOOD, "--json"), 1, NOT_PRINTED),
        (">/dev/full", GOOD, 1, NOT_PRINTED),
        (">/dev/full", ("--version",), 1, NOT_PRINTED),
        (">/dev/full", (*BAD, "--json"), 2, UNKNOWN),  # what failed is said, not that it could not be printed
        (">&- 2>&-", GOOD, 1, ""),
        (">/dev/full 2>/dev/full", BAD, 2, ""),
        ("2>&-", GOOD, 0, ""),
        ("2>/dev/full", BAD, 2, ""),
        ("<&- 2>&-", GOOD, 0, ""),
    ],
)
def test_closed_and_full_streams(
    offline_program: Program, redirection: str, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    done = redirected(offline_program, arguments, redirection)
    assert done.returncode == exit_code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert said.encode() in done.stderr
    assert bool(done.stderr) is bool(said)
    if exit_code == 0:
        assert b"inswapper_128" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_json_is_json_whatever_the_terminal(offline_program: Program, encoding: str, tmp_path: Path) -> None:
    folder = tmp_path / "ünï-面"
    folder.mkdir()
    environment = {**offline_program.environment, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    environment["FACEFLOW_MODELS__FOLDER"] = str(folder)
    done = subprocess.run([*PROGRAM, *GOOD, "--json"], env=environment, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == str(folder)
    done = subprocess.run([*PROGRAM, *GOOD], env=environment, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
