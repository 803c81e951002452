"""What a job of a campaign costs the Prefect server: CPU time of its processes, read from /proc, around batches.

    python -m benchmarks.campaign [--jobs 20] [--batches 5]

A server of its own is started on a free port; batches run in this process as they do in a worker. Their jobs were
rendered before and are found finished, so that a batch takes seconds: what the server is told of a job is the same, and
what it uses by itself, measured first, stays small beside it. That is taken off for `batch_ms_a_job` and not for
`batch_ms_a_job_with_idle`. For comparison: `bare_ms_a_task`, a flow of as many tasks that do nothing, which is what
Prefect takes on this machine in this state; and the clip through `swap-video`, which keeps a task a stage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from benchmarks.material import face_clip, portrait
from faceflow.infrastructure.machine.server.environment import client_environment
from faceflow.infrastructure.machine.server.lease import end_if_unused, lease_server, running_server
from faceflow.infrastructure.machine.server.server_settings import ServerSettings
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.settings import PathSettings

IDLE_S = 20.0
SETTLE_S = 5.0
"""What the server does after a run, such as writing events, belongs to it."""


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process and those below it have used, user and system."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


async def measured(pid: int, work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds of the server's CPU while the work was done, and how long that took, until it is quiet again."""
    before, begun = cpu_s(pid), time.monotonic()
    await work()
    await asyncio.sleep(SETTLE_S)
    return cpu_s(pid) - before, time.monotonic() - begun


async def measure(folder: Path, jobs: int, batches: int, pid: int) -> dict[str, float]:
    """The figures, milliseconds of the server's CPU."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    from faceflow.flows.render_batch import render_batch
    from faceflow.flows.swap_video import swap_video
    from faceflow.job import SwapJob

    source, target = portrait(folder), face_clip(folder / "clip.mp4", seconds=0.5)

    def job(name: str) -> SwapJob:
        mine = folder / f"{name}{source.suffix}"
        shutil.copy(source, mine)
        return SwapJob(
            sources=[{"portraits": [str(mine)]}],
            target=str(target),
            output=str(folder / f"{name}.mp4"),
            consent={"subject": "Eileen Collins", "scope": "a benchmark", "reference": "NASA S93-45481"},
        )

    await render_batch({"warm": job("warm")}, "warm-up")
    await swap_video(job("warm-swap"))
    await asyncio.sleep(SETTLE_S)
    before, begun = cpu_s(pid), time.monotonic()
    await asyncio.sleep(IDLE_S)
    idle = (cpu_s(pid) - before) / (time.monotonic() - begun)
    batch = {f"job-{number:03d}": job("warm") for number in range(jobs)}

    async def run_batches() -> None:
        for number in range(batches):
            endings = await render_batch(batch, f"measured-{number}")
            assert [one.state for one in endings] == ["done"] * jobs, endings

    @task(cache_policy=NO_CACHE, persist_result=False)
    async def nothing() -> None:
        pass

    @flow(persist_result=False)
    async def bare() -> None:
        for _ in range(jobs):
            await nothing()

    async def run_bare() -> None:
        for _ in range(batches):
            await bare()

    async def run_alone() -> None:
        await swap_video(job("alone"))

    in_batches, batches_s = await measured(pid, run_batches)
    bare_runs, bare_s = await measured(pid, run_bare)
    alone, alone_s = await measured(pid, run_alone)
    return {
        "jobs_a_batch": jobs,
        "batches": batches,
        "batch_ms_a_job": round(1000 * (in_batches - idle * batches_s) / jobs / batches, 1),
        "batch_ms_a_job_with_idle": round(1000 * in_batches / jobs / batches, 1),
        "bare_ms_a_task": round(1000 * (bare_runs - idle * bare_s) / jobs / batches, 1),
        "swap_video_ms": round(1000 * (alone - idle * alone_s), 1),
        "idle_ms_a_second": round(1000 * idle, 1),
        "seconds": round(batches_s, 1),
    }


def main() -> None:
    """Starts a server, measures, prints one JSON object, and ends the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--batches", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faceflow-campaign-"))
    state = folder / "state"
    os.environ.pop("PREFECT_API_URL", None)
    for name, value in {"STATE": state, "SCRATCH": folder / "scratch"}.items():
        os.environ[f"FACEFLOW_PATHS__{name}"] = str(value)
    settings = Settings(
        paths=PathSettings(state=state, scratch=folder / "scratch"),
        server=ServerSettings(port=14877, idle_s=1, start_timeout_s=400),
    )
    current_settings.cache_clear()
    try:
        with lease_server(settings) as address:
            os.environ.update(client_environment(state, address.api_url))
            os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
            record = running_server(settings)
            assert record is not None
            print(
                json.dumps(asyncio.run(measure(folder, arguments.jobs, arguments.batches, record.server_pid)), indent=2)
            )
    finally:
        end_if_unused(settings)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
