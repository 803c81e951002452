"""Whoever reads the output may stop reading: `faceflow models list | head -1` ends without a word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import Program


@pytest.mark.parametrize("arguments", [("models", "list"), ("models", "path", "no-such-model", "--json")])
def test_a_closed_pipe_ends_the_program_quietly(offline_program: Program, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gateway.cli.main", *arguments]
    try:
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, env=offline_program.environment, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert b"BrokenPipe" not in done.stderr
    assert b"unexpected" not in done.stderr
