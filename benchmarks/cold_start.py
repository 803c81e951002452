"""From the start of a job's process to its first swapped frame, seconds by step, with the models already there.

    python -m benchmarks.cold_start [--rounds 3] [--engines embedded inswapper_128] [--json FILE]

Runs are made on a Prefect server and started as a pool's container starts them (`python -m prefect.engine`, offline);
what is read are the run's own events. `mesh` is the embedded
engine, `inswapper_128` a network of its true shape, 554 MB. Every connection that the
process makes is counted: besides those to the Prefect server there must be none, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.material import face_clip, portrait
from benchmarks.networks import whole_models
from benchmarks.server import ask
from faceflow.infrastructure.machine.pools.environment import ENGINE_COMMAND
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.lease import end_if_unused, lease_server
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings

STEPS = ("imports, run from the server", "models checked", "validated, cut, scanned", "networks loaded", "first frame")
POOLS = """pools:
  - {name: cold, zone: private, capacity: owned, provider: own, gpu: cpu, gpus: 1, price_usd_per_gpu_hour: 0.01,
     runs_on: {kind: process}}
"""
GUARD = """import os, socket
_connect = socket.socket.connect
def connect(self, address):
    with open(os.environ["COLD_START_CONNECTIONS"], "a") as log:
        print(address[:2] if isinstance(address, tuple) else address, file=log)
    return _connect(self, address)
socket.socket.connect = connect
"""
"""A `sitecustomize` that notes where the process connects to."""


def started_run(api_url: str, folder: Path, engine: str, number: int) -> tuple[str, Path]:
    """A pending run of a job that nobody did before; its id, and where its video goes."""
    source = folder / f"{engine}-{number}.png"
    shutil.copy(folder / "portrait.png", source)
    output = folder / f"{engine}-{number}.mp4"
    job = {
        "sources": [{"portraits": [str(source)]}],
        "target": str(folder / "target.mp4"),
        "output": str(output),
        "swap": {"engine": engine},
        "consent": {"subject": "Eileen Collins", "scope": "a benchmark", "reference": "NASA S93-45481"},
    }
    deployment = ask("GET", f"{api_url}/deployments/name/swap-video/cold")
    body = {"state": {"type": "PENDING"}, "parameters": {"job": job}}
    made = ask("POST", f"{api_url}/deployments/{deployment['id']}/create_flow_run", body)
    return made["id"], output


def measured(api_url: str, folder: Path, engine: str, number: int, environment: dict[str, str]) -> dict[str, float]:
    """Runs one job; seconds by step until its first swapped frame, and how many strangers it connected to."""
    run_id, output = started_run(api_url, folder, engine, number)
    connections = folder / f"{engine}-{number}.connections"
    connections.touch()
    place = folder / f"pod-{engine}-{number}"
    place.mkdir()
    variables = {
        **environment,
        "PREFECT__FLOW_RUN_ID": run_id,
        "PREFECT_HOME": str(place / "prefect"),
        "FACEFLOW_PATHS__SCRATCH": str(place / "scratch"),
        "COLD_START_CONNECTIONS": str(connections),
    }
    begun = time.time()
    done = subprocess.run(
        [sys.executable, *ENGINE_COMMAND.split()[1:]], env=variables, cwd=place, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    ended_s = time.time() - begun
    if done.returncode or not output.exists():
        raise SystemExit(f"the job failed with status {done.returncode}\n{done.stderr[-3000:]}")
    marks = [0.0, *_marks(done.stderr, begun, engine)]
    server = urlsplit(api_url)
    strangers = {
        line for line in connections.read_text().splitlines() if f"'{server.hostname}', {server.port}" not in line
    }
    steps = dict(zip(STEPS, (later - earlier for earlier, later in pairwise(marks)), strict=True))
    return {**steps, "all": marks[-1], "whole job": ended_s, "connections elsewhere": len(strangers)}


def _marks(log: str, begun: float, engine: str) -> list[float]:
    """Seconds since `begun` at which each step had ended."""
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    def first(name: str, stage: str | None = None) -> float:
        found = [one for one in events if one["event"] == name and (stage is None or one.get("stage") == stage)]
        if not found:
            raise SystemExit(f"no event {name} {stage or ''} in the log of the job:\n{log[-3000:]}")
        return datetime.fromisoformat(found[0]["timestamp"]).timestamp() - begun

    swap = first("stage.started", "swap")
    loaded = swap if engine == "mesh" else max(swap, first("model.loaded"))
    return [first("run.started"), first("job.started"), swap, loaded, first("stage.first_frame", "swap")]


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["mesh", "inswapper_128"])
    parser.add_argument("--json", type=Path, default=Path("out/cold_start.json"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faceflow-cold-"))
    state = folder / "state"
    settings = Settings(
        paths=PathSettings(state=state, scratch=folder / "scratch"),
        server=ServerSettings(port=14878, idle_s=1, start_timeout_s=400),
    )
    try:
        portrait(folder)
        face_clip(folder / "target.mp4", seconds=0.4, size="352x288")
        (folder / "sitecustomize.py").write_text(GUARD)
        (folder / "pools.yaml").write_text(POOLS)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("FACEFLOW_", "PREFECT_"))}
        environment = {
            **ours,
            **whole_models(folder / "models"),
            "FACEFLOW_PATHS__STATE": str(state),
            "FACEFLOW_MODELS__OFFLINE": "true",
            "FACEFLOW_LOG__FORMAT": "json",
            "FACEFLOW_LOG__LEVEL": "debug",
        }
        with lease_server(settings) as address:
            environment |= client_environment(state, address.api_url)
            subprocess.run(
                [sys.executable, "-m", "faceflow.gateway.program", "register",
                 "--pools", str(folder / "pools.yaml"), "--json"],
                env=environment, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
            rounds: dict[str, list[dict[str, float]]] = {engine: [] for engine in options.engines}
            for number in range(options.rounds):
                for engine in options.engines:
                    rounds[engine].append(measured(address.api_url, folder, engine, number, environment))
    finally:
        end_if_unused(settings)
        shutil.rmtree(folder, ignore_errors=True)
    result: dict[str, Any] = {
        engine: {step: statistics.median(row[step] for row in rows) for step in rows[0]}
        for engine, rows in rounds.items()
    }
    print(f"\nseconds, medians of {options.rounds}")
    print(f"{'':30}" + "".join(f"{engine:>16}" for engine in result))
    for step in next(iter(result.values())):
        print(f"{step:30}" + "".join(f"{row[step]:16.2f}" for row in result.values()))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
