"""Log lines: JSON and nothing else where that was asked for, words for people otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from tests.conftest import ROOT, Program
from tests.faces import face_clip, portrait

FIELDS = {"timestamp", "task_id", "event", "model", "input_size", "gpu_used"}

MANY_VOICES = """
import ctypes, os, subprocess, sys, warnings
from faceflow.log import configure_logging, events
from faceflow.standard_error import guarded_stderr
from faceflow.settings import LogSettings
with guarded_stderr():
    configure_logging(LogSettings(format=sys.argv[1], level="debug"))
    os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
    os.write(2, b"\\x1b[31mfrom C\\x1b[0m \\xff\\n\\n")
    subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('from a child')"], check=True)
    os.write(2, b"\\n")
    os.write(2, b'{"event": "a child that speaks JSON"}\\n')
    warnings.warn("from Python")
    events().info("ours")
print("after", file=sys.stderr)
"""


def speak(format_: str) -> list[str]:
    command = [sys.executable, "-c", MANY_VOICES, format_]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
    assert done.stdout == b""
    return done.stderr.decode(errors="replace").splitlines()


def test_every_json_line_of_a_job_has_the_required_fields(program: Program, tmp_path: Path) -> None:
    source, target = portrait(tmp_path), face_clip(tmp_path / "clip.mp4", seconds=0.5)
    done = program("swap", source, target, "-o", tmp_path / "out.mp4", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines
    for line in lines:
        assert line.keys() >= FIELDS, line
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
        assert line["event"]
    job = [line for line in lines if line["task_id"] is not None]
    assert {line["task_id"] for line in job} == {done.answer["job_id"]}
    assert {line["model"] for line in job} == {"mesh"}
    composed = next(line for line in job if line["event"] == "stage.finished" and line["stage"] == "compose")
    assert composed["input_size"] == "176x144"
    assert composed["seconds"] >= 0
    assert [line["event"] for line in job][-1] == "job.finished"


def test_a_failure_is_a_json_line_too(offline_program: Program, tmp_path: Path) -> None:
    done = offline_program("swap", portrait(tmp_path), tmp_path / "none.mp4", "-o", tmp_path / "out.mp4")
    assert (done.exit_code, done.stdout) == (2, "")
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert line.keys() >= FIELDS
    assert (line["event"], line["code"], line["level"]) == ("program.failed", "media.missing", "error")
    assert line["resolution"]


def test_people_get_words(program: Program, tmp_path: Path) -> None:
    source, target = portrait(tmp_path), face_clip(tmp_path / "clip.mp4", seconds=0.5)
    human = {"FACEFLOW_LOG__FORMAT": "human", "FACEFLOW_LOG__LEVEL": "info", "COLUMNS": "200"}
    done = program("swap", source, target, "-o", tmp_path / "out.mp4", **human)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "15, with 15 swapped faces" in done.stdout
    assert "stage.finished" in done.stderr
    assert "job.finished" in done.stderr
    assert "{" not in done.stderr
    assert "XNNPACK" not in done.stderr
    assert "prefect" not in done.stderr.lower()

    failed = program("swap", source, tmp_path / "none.mp4", "-o", tmp_path / "out.mp4", **human)
    assert failed.exit_code == 2
    assert "media.missing" in failed.stderr
    assert "what to do" in failed.stderr


def test_what_others_write_becomes_events() -> None:
    lines = speak("json")
    assert lines.pop() == "after"
    said = [json.loads(line) for line in lines]
    output = [line["text"] for line in said if line["event"] == "output"]
    assert output[:2] == ["from C \N{REPLACEMENT CHARACTER}", "from a child"]
    assert any("UserWarning: from Python" in text for text in output)
    events = [line["event"] for line in said]
    assert events.count("a child that speaks JSON") == events.count("ours") == 1
    assert not any("XNNPACK" in line for line in lines)


def test_what_others_write_reaches_people_as_it_is() -> None:
    lines = speak("human")
    assert lines.pop() == "after"
    assert "from a child" in lines
    assert any("\x1b[31mfrom C" in line for line in lines)
    assert any("UserWarning: from Python" in line for line in lines)
    assert any("ours" in line and "[info" in line for line in lines)
    assert not any("XNNPACK" in line for line in lines)
