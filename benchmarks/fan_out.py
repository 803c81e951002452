"""One long clip on two workers in many shards: are the bytes those of one worker, and how much sooner is it done?

    python -m benchmarks.fan_out [--seconds 600] [--size 640x360] [--shards 8] [--all-cores] [--json FILE]

A Prefect server and two process pools with one worker each are started here; a worker runs one job, one segment at a
time, on a core of its own, as a pod has the cores that it asks for (`--all-cores`: on whatever core is free). The clip
goes through one pool alone, then through both in shards, then two processes decode and encode it beside one that does,
each on a core of its own too. What two workers gain is held against what two such processes gain in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.material import portrait, scene
from benchmarks.scaling import frames_a_second, on_core
from benchmarks.server import ask
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.lease import end_if_unused, lease_server
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.machine.worker import local_worker
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.settings import PathSettings
from faceflow.zones import Zone

POOLS = ("one", "two")
POLL_S = 1.0
FLOOR_S = 60.0
"""Length of the clip that is decoded and encoded: what two processes gain there does not depend on it."""


@contextmanager
def environment_of(folder: Path, pool: str, api_url: str) -> Iterator[None]:
    """The environment of one machine of the pool while the block runs."""
    ours = {
        **client_environment(folder / pool / "state", api_url),
        "FACEFLOW_PATHS__STATE": str(folder / pool / "state"),
        "FACEFLOW_PATHS__SCRATCH": str(folder / pool / "scratch"),
        "FACEFLOW_EXCHANGE__FOLDER": str(folder / "exchange"),
        "FACEFLOW_PIPELINE__SHARD_S": "5",  # as many shards as asked for
        # Who has nothing left to do takes what nobody has begun, at once.
        "FACEFLOW_PIPELINE__SHARD_START_S": "1",
        "FACEFLOW_LOG__FORMAT": "json",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # a job runs the first python there
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    current_settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        current_settings.cache_clear()


def wait_until_ready(api_url: str, pool: str, patience_s: float = 120.0) -> None:
    """Returns when a worker of the pool was heard of."""
    deadline = time.monotonic() + patience_s
    while ask("GET", f"{api_url}/work_pools/{pool}")["status"] != "READY":
        if time.monotonic() > deadline:
            raise SystemExit(f"no worker of {pool} after {patience_s:g} s")
        time.sleep(POLL_S)


def finished(folder: Path, api_url: str, job: dict[str, Any], dispatched: dict[str, Any] | None) -> dict[str, Any]:
    """Starts `swap-video/one` and waits for its end; seconds from its first to its last state, and its shard runs."""
    deployment = ask("GET", f"{api_url}/deployments/name/swap-video/one")
    parameters = {"job": job} if dispatched is None else {"job": job, "dispatched": dispatched}
    made = ask("POST", f"{api_url}/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    while True:
        run = ask("GET", f"{api_url}/flow_runs/{made['id']}")
        if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
            break
        time.sleep(POLL_S)
    if run["state_type"] != "COMPLETED":
        logs = "\n".join(log.read_text(errors="replace")[-3000:] for log in folder.glob("*.log"))
        raise SystemExit(f"{logs}\nthe run ended as {run['state_name']}: {run['state']['message']}")
    wanted = {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
    shards = ask("POST", f"{api_url}/flow_runs/filter", wanted)
    begun, ended = (datetime.fromisoformat(run[name].replace("Z", "+00:00")) for name in ("start_time", "end_time"))
    return {"seconds": (ended - begun).total_seconds(), "shards": [shard["state_name"] for shard in shards]}


def measure(folder: Path, api_url: str, seconds: float, size: str, shards: int, *, a_core_each: bool) -> dict[str, Any]:
    """Runs the clip on one pool, then on both, then the floor."""
    source, target = portrait(folder), scene(folder / "clip.mp4", size=size, seconds=seconds)

    def job(name: str) -> dict[str, Any]:
        face = folder / f"{name}{source.suffix}"
        shutil.copy(source, face)
        return {
            "sources": [{"portraits": [str(face)]}],
            "target": str(target),
            "output": str(folder / f"{name}.mp4"),
            "consent": {"subject": "Eileen Collins", "scope": "a benchmark", "reference": "NASA S93-45481"},
        }

    alone = finished(folder, api_url, job("alone"), None)
    print(f"one worker: {alone['seconds']:.1f} s", flush=True)
    places = [{"pool": pool, "share": 0.5, "shards": shards // 2} for pool in POOLS]
    shared = finished(
        folder, api_url, job("shared"), {"request_id": "shared", "attempt": 1, "way": "split", "places": places}
    )
    print(f"two workers: {shared['seconds']:.1f} s, shard runs: {shared['shards']}", flush=True)
    digests = {name: hashlib.sha256((folder / f"{name}.mp4").read_bytes()).hexdigest() for name in ("alone", "shared")}
    short = scene(folder / "short.mp4", size=size, seconds=min(seconds, FLOOR_S))
    floor = [frames_a_second("floor", count, short, source, folder, a_core_each=a_core_each) for count in (1, 2)]
    gain, floor_gain = alone["seconds"] / shared["seconds"], floor[1] / floor[0]
    return {
        "a_core_each": a_core_each,
        "same_bytes": digests["alone"] == digests["shared"],
        "one_worker_s": round(alone["seconds"], 1),
        "two_workers_s": round(shared["seconds"], 1),
        "shard_runs": shared["shards"],
        "two_over_one": round(gain, 3),
        "floor_two_over_one": round(floor_gain, 3),
        "over_floor": round(gain / floor_gain, 3),
    }


def main() -> None:
    """Measures, prints one JSON object, and ends what it started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--all-cores", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("out/fan_out.json"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faceflow-fan-out-"))
    for name in [name for name in os.environ if name.startswith(("FACEFLOW_", "PREFECT_"))]:
        del os.environ[name]
    settings = Settings(
        paths=PathSettings(state=folder / "state", scratch=folder / "scratch"),
        server=ServerSettings(port=14879, idle_s=1, start_timeout_s=400),
    )
    try:
        with lease_server(settings) as address, ExitStack() as stack:
            pools = "".join(
                f"  - {{name: {pool}, zone: private, capacity: owned, provider: own, gpu: cpu, gpus: 1,"
                f" price_usd_per_gpu_hour: 0.01, runs_on: {{kind: process, segments_in_flight: 1}}}}\n"
                for pool in POOLS
            )
            (folder / "pools.yaml").write_text(f"pools:\n{pools}")
            register(folder, address.api_url)
            a_core_each = not options.all_cores
            for number, pool in enumerate(POOLS):
                with environment_of(folder, pool, address.api_url), on_core(number if a_core_each else None):
                    stack.enter_context(local_worker(pool, Zone.PRIVATE, f"worker-{pool}", folder / f"{pool}.log"))
            for pool in POOLS:
                wait_until_ready(address.api_url, pool)
            url, seconds, size, shards = address.api_url, options.seconds, options.size, options.shards
            result = measure(folder, url, seconds, size, shards, a_core_each=a_core_each)
    finally:
        end_if_unused(settings)
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result, indent=2))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2))


def register(folder: Path, api_url: str) -> None:
    """Makes the pools and deployments, as an operator does."""
    with environment_of(folder, POOLS[0], api_url):
        subprocess.run(
            [sys.executable, "-m", "faceflow.gateway.program", "register",
             "--pools", str(folder / "pools.yaml"), "--json"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


if __name__ == "__main__":
    main()
