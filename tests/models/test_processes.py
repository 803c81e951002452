"""Many processes share one models folder: one fetches, the others wait; a killed one is gone on with; disks fill up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.models.conftest import CONTENT, onnx_bytes

ROOT = Path(__file__).parents[2]
LARGE = onnx_bytes(3_000_000)

PROGRAM = """
import json, sys, threading
from pathlib import Path
from faceflow.errors import FaceflowError
from faceflow.infrastructure.settings import Settings
from faceflow.vision.model_catalogue import load_catalogue
from faceflow.infrastructure.models.pull import pull
settings = Settings()
def say(*words): sys.stdout.write(json.dumps(words) + "\\n"); sys.stdout.flush()
class Watcher:
    def moved(self, name, done, size): say("moved", done)
    def waiting(self, name): say("waiting")
    def finished(self, name): say("finished")
try:
    report = pull(["net"], settings, known=load_catalogue(settings.models.extra), watcher=Watcher())
    report.require_complete()
    say("pulled", report.pulled)
except FaceflowError as error:
    say("error", error.code, error.message)
"""


def start(bench, prelude: str = "", **variables: str) -> subprocess.Popen[str]:
    bench.known  # noqa: B018 - writes the catalogue
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FACEFLOW_MODELS__FOLDER": str(bench.tmp_path / "cache"),
        "FACEFLOW_MODELS__EXTRA": str(bench.tmp_path / "models.toml"),
        "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", prelude + PROGRAM], env=environment, text=True, stdout=subprocess.PIPE
    )


def told(process: subprocess.Popen[str]) -> list[list]:
    """What the process printed, as it ended."""
    stdout, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in stdout.splitlines() if line.startswith("[")]


def until(process: subprocess.Popen[str], condition) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[") and condition(json.loads(line)):
            return
    raise AssertionError(f"ended with {process.wait()}")


def test_two_pulls_at_once_fetch_once(bench):
    bench.add("net", LARGE).hang_s = 4  # both have started by then
    two = [start(bench), start(bench)]
    said = [told(process) for process in two]
    assert bench.path().read_bytes() == LARGE
    assert len(bench.server.gets("/net.onnx")) == 1
    assert sorted(lines[-1] for lines in said) == [["pulled", []], ["pulled", ["net"]]]
    assert sorted(["waiting"] in lines for lines in said) == [False, True]


def test_a_killed_pull_is_gone_on_with(bench):
    how = bench.add("net", LARGE)
    how.pause_s = 0.01
    process = start(bench)
    until(process, lambda line: line[0] == "moved" and line[1] > 1_000_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not bench.path().exists()
    how.pause_s = 0
    bench.pull()
    second = bench.server.gets("/net.onnx")[1]
    assert int(second.range.removeprefix("bytes=").removesuffix("-")) > 900_000
    assert bench.path().read_bytes() == LARGE
    assert bench.files() == {"net.onnx", "net.onnx.record"}


def test_whoever_waits_goes_on_where_a_killed_one_was(bench):
    how = bench.add("net", LARGE)
    how.pause_s = 0.1
    first = start(bench)
    until(first, lambda line: line[0] == "moved" and line[1] > 300_000)
    second = start(bench)
    until(second, lambda line: line[0] == "waiting")
    first.kill()
    first.wait()
    how.pause_s = 0
    assert told(second)[-1] == ["pulled", ["net"]]
    assert bench.path().read_bytes() == LARGE
    assert bench.server.gets("/net.onnx")[1].range != ""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_pull_leaves_what_came(bench, sent):
    bench.add("net", LARGE).pause_s = 0.01
    process = start(bench)
    until(process, lambda line: line[0] == "moved" and line[1] > 500_000)
    process.send_signal(sent)
    begun = time.monotonic()
    said = told(process)
    assert time.monotonic() - begun < 5
    if sent is signal.SIGINT:
        assert said[-1][:2] == ["error", "fault.cancelled"]
    assert not bench.path().exists()
    assert bench.path().with_name(".net.onnx.part").stat().st_size > 400_000


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))\n"


def test_a_file_that_the_disk_does_not_take(bench):
    bench.add("net", LARGE)
    said = told(start(bench, LIMIT))
    assert said[-1][:2] == ["error", "fault.disk_full"]
    assert bench.files() == set(), "a full disk hurts others too"


@pytest.fixture
def small_disk(bench):
    """The models folder on a disk of 2 MB."""
    folder = bench.tmp_path / "cache"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_before_anything_is_fetched(bench, small_disk):
    bench.add("net", LARGE)
    said = told(start(bench))
    assert said == [["error", "fault.disk_full", said[0][2]]]
    assert bench.server.seen == []


def test_a_disk_that_fills_up_in_the_middle(bench, small_disk):
    how = bench.add("net", facts="")
    how.content, how.sizeless = LARGE, True
    said = told(start(bench))
    assert said[-1][:2] == ["error", "fault.disk_full"]
    assert any(line[0] == "moved" and line[1] > 1_000_000 for line in said)
    assert bench.files() == set()


def test_pulls_of_many_models_in_many_processes(bench):
    for number in range(4):
        bench.add(f"part{number}", onnx_bytes(100_000, number)).pause_s = 0.005
    bench.add("net", more=f"needs = {json.dumps([f'part{number}' for number in range(4)])}")
    said = [told(process) for process in [start(bench) for _ in range(3)]]
    assert all(lines[-1][0] == "pulled" for lines in said)
    assert sorted(name for lines in said for name in lines[-1][1]) == ["net", "part0", "part1", "part2", "part3"]
    assert len(bench.server.seen) == 5
    assert bench.path().read_bytes() == CONTENT
