"""A machine is taken away in the middle of a segment: the job ends inside its grace, and the next machine goes on.

The job runs as a pod runs it: the command and the environment of its pool's template, on a real server.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from faceflow.infrastructure.machine.pools.environment import (
    MODELS,
    SCRATCH,
    STATE,
    TEMPORARY,
    container_environment,
    job_command,
)
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.runs_on import OnTermination
from tests.conftest import ROOT, Program
from tests.dispatch.jobs import SEGMENT_S, SEGMENTS, Clip, digest
from tests.faces import face_clip, portrait
from tests.pools.conftest import POOLS_FILE, Server, changed
from tests.pools.test_register import register

PATIENCE_S = 240.0
IN_FLIGHT = 2


@dataclass
class Pod:
    """One machine: its own scratch and temporary files; state and models are shared."""

    folder: Path
    pool: Pool
    on_termination: OnTermination
    api_url: str
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, run_id: str) -> None:
        """Starts the run as the pool's template says."""
        self.folder.mkdir()
        places = {STATE: self.folder.parent / "state", MODELS: self.folder.parent / "models",
                  SCRATCH: self.folder / "scratch", TEMPORARY: self.folder / "temporary"}  # fmt: skip
        for place in places.values():
            place.mkdir(exist_ok=True)
        variables = {}
        for name, value in container_environment(self.pool).items():
            root = next((root for root in places if value == root or value.startswith(f"{root}/")), None)
            variables[name] = f"{places[root]}{value[len(root) :]}" if root else value
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("FACEFLOW_", "PREFECT_"))}
        more = {"PREFECT_API_URL": self.api_url, "PREFECT__FLOW_RUN_ID": run_id, "PYTHONPATH": str(ROOT),
                "FACEFLOW_PIPELINE__KEEP_FREE_BYTES": "1000000"}  # fmt: skip
        command = job_command(self.on_termination)
        arguments = shlex.split(command.removeprefix("python -m ").removeprefix("prefect "))
        module = ["-m", "prefect"] if command.startswith("prefect ") else ["-m"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *module, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env={**ours, **variables, **more},
            )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def events(self, name: str, stage: str) -> list[dict[str, Any]]:
        """Events of a stage that were logged so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event.get("event") == name and event.get("stage") == stage]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)

    def terminate(self) -> float:
        """SIGTERM, as the kubelet sends it. Returns the seconds until everything had ended."""
        everything = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        _, alive = psutil.wait_procs(everything, timeout=5)
        assert not alive
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def clip(shared_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Four seconds in six segments, and what an undisturbed run makes of them."""
    folder = tmp_path_factory.mktemp("clip")
    source, target = portrait(folder), face_clip(folder / "target.mp4", seconds=4.0)
    output = folder / "whole.mp4"
    options = ["--segment-length", str(SEGMENT_S), "--max-long-side", "160"]
    done = Program(shared_state, folder / "scratch")("swap", source, target, "-o", output, "--json", *options)
    assert done.exit_code == 0, done.stdout + done.stderr
    return Clip(source, target, digest(output))


# Started again elsewhere it is a job that a killed machine left: `tests/dispatch` has that in every run.
OTHERS = [pytest.param(OnTermination.CRASH, marks=pytest.mark.full)]


@pytest.fixture(params=[OnTermination.RESCHEDULE, *OTHERS], ids=str)
def pool(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> Iterator[Pool]:
    """A pool of the shipped list, on the CPU and under a name of its own, known to the server."""
    shipped = load_pools(POOLS_FILE.read_text(), POOLS_FILE.name).by_name["private-k8s"]
    pool = changed(shipped, provider="cpu", on_termination=str(request.param))
    pool = pool.model_copy(update={"name": f"term-{request.param}"})
    listed = tmp_path / "pools.yaml"
    listed.write_text(yaml.safe_dump({"pools": [pool.model_dump(mode="json")]}))
    register(program, listed, FACEFLOW_ROUTING__DISPATCHER_POOL="term-dispatch")
    yield pool


@pytest.mark.timeout(600)
def test_a_job_that_is_told_to_end_leaves_only_missing_segments(
    pool: Pool, shared_state: Path, clip: Clip, tmp_path: Path
) -> None:
    server = Server(shared_state)
    output = tmp_path / "out.mp4"
    deployment = server("GET", f"/deployments/name/swap-video/{pool.name}")
    state = {"type": "PENDING"}  # as a worker leaves it
    run = server(
        "POST", f"/deployments/{deployment['id']}/create_flow_run", state=state, parameters={"job": clip.job(output)}
    )
    behaviour = pool.runs_on.on_termination
    grace_s = pool.runs_on.grace_s

    first = Pod(tmp_path / "first", pool, behaviour, server.url)
    first.start(run["id"])
    try:
        # Two segments are always in work, so others are in the middle of theirs.
        first.until(lambda: len(first.events("stage.finished", "compose")) >= 2)
        took_s = first.terminate()
    finally:
        first.process.kill()
    assert took_s < grace_s / 2
    assert not output.exists()
    composed = {event["segment"] for event in first.events("stage.finished", "compose")}
    assert 2 <= len(composed) < SEGMENTS
    ended = server("GET", f"/flow_runs/{run['id']}")

    if behaviour is OnTermination.RESCHEDULE:
        assert (first.process.returncode, ended["state_name"]) == (0, "AwaitingRetry")
        attempt = run
    else:
        assert ended["state_type"] == "CRASHED", f"{ended['state']}\n{first.log.read_text(errors='replace')[-6000:]}"
        attempt = server("POST", f"/deployments/{deployment['id']}/create_flow_run", state=state,
                         parameters={"job": clip.job(output)})  # fmt: skip
    second = Pod(tmp_path / "second", pool, behaviour, server.url)
    second.start(attempt["id"])
    try:
        second.process.wait(PATIENCE_S)
    finally:
        second.process.kill()
    assert server("GET", f"/flow_runs/{attempt['id']}")["state_type"] == "COMPLETED", second.log.read_text()[-3000:]
    again = [event["segment"] for event in second.events("stage.finished", "compose")]
    # A segment that had just been composed may not have been published any more.
    assert len(again) <= SEGMENTS - len(composed) + IN_FLIGHT
    assert len(again) < SEGMENTS, "the parts of the first machine were found by the second"
    assert digest(output) == clip.sha256
    assert list((tmp_path / "second" / "scratch").rglob("*.*")) == []
