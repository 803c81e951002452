"""`faceflow up`: server, local pools, deployments, dispatcher and workers in one command; Ctrl-C stops everything."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from faceflow.gateway.cli.screen import console, waiting
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.lease import ServerAddress, end_if_unused, lease_server, only_up
from faceflow.infrastructure.machine.server.record import ServerFiles
from faceflow.infrastructure.machine.worker import local_worker, require_running, worker_name
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.sources.policy_files import read_text
from faceflow.log import events
from faceflow.zones import Zone

CHECK_S = 1.0
LOCAL = "local"
"""Provider of the pools in the list that `up` serves."""
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="How many jobs run at once on this machine.")] = 1,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C: UI, server, pool, deployments, worker."""
    settings = current_settings()
    previous = {number: signal.signal(number, _end) for number in _ENDINGS}
    try:
        with only_up(settings):
            try:
                _run(settings, jobs)
            finally:
                _ignore_endings()
                end_if_unused(settings)
    except KeyboardInterrupt:
        console().print("Stopped.")
        events().info("up.stopped")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class _Served:
    """A pool that this machine serves."""

    pool: str
    zone: Zone
    jobs: int
    log: Path


def _served(settings: Settings, jobs: int) -> list[_Served]:
    """This machine's own pool, and those that are local by the list of pools: several zones on one machine.

    Raises:
        PolicyError: the list of pools cannot be used.
    """
    folder = ServerFiles(settings.paths.state).directory
    found = {settings.pool.name: _Served(settings.pool.name, settings.pool.zone, jobs, folder / "worker.log")}
    if settings.routing.pools is not None:
        for pool in load_pools(read_text(settings.routing.pools), str(settings.routing.pools)).pools:
            if pool.provider == LOCAL:
                log = folder / f"worker-{pool.name}.log"
                found.setdefault(pool.name, _Served(pool.name, pool.zone, pool.gpus, log))
    return list(found.values())


def _run(settings: Settings, jobs: int) -> NoReturn:
    served, name = _served(settings, jobs), worker_name(settings.paths.state)
    control = settings.routing.dispatcher_pool
    names = [one.pool for one in served] + [control]
    with ExitStack() as stack:
        with waiting("Starting the local Prefect server") as tick:
            address = stack.enter_context(lease_server(settings, tick))
            point_prefect_at(settings.paths.state, address.api_url)
            # The dispatcher's worker has a pool of its own, where no jobs run.
            os.environ.setdefault("FACEFLOW_ROUTING__DEFAULT_POOL", settings.pool.name)
            from faceflow.flows.server.this_machine import (
                end_abandoned_runs,
                register_dispatcher,
                register_work_pool,
                require_alone,
                require_ours,
            )

            async def register() -> list[str]:
                if not address.owned:
                    await require_ours(names)
                    if settings.database.url is None:
                        await require_alone(control, name)
                deployments = [await register_work_pool(one.pool, one.jobs) for one in served]
                return [*deployments, await register_dispatcher(settings)]

            async def end_abandoned() -> None:
                for pool in names:
                    await end_abandoned_runs(pool, name, only_worker=address.owned)

            deployments = asyncio.run(register())
            # Those of an earlier `faceflow up` that could not do it itself.
            asyncio.run(end_abandoned())
        try:
            with ExitStack() as working:
                workers = {
                    one.log: working.enter_context(local_worker(one.pool, one.zone, name, one.log)) for one in served
                }
                log = served[0].log.with_name(f"worker-{control}.log")
                workers[log] = working.enter_context(local_worker(control, settings.pool.zone, name, log))
                _say_so(address, deployments, served[0].log)
                while True:
                    for written, worker in workers.items():
                        require_running(worker, written)
                    time.sleep(CHECK_S)
        finally:
            asyncio.run(end_abandoned())


def _say_so(address: ServerAddress, deployments: list[str], log: Path) -> None:
    screen = console()
    screen.print(f"[bold]faceflow is up[/]  {address.ui_url}")
    for deployment in deployments:
        screen.print(f"  deployment  {deployment}")
    screen.print(
        "  start runs in the UI, or with: faceflow swap --remote ... (here), faceflow swap --dispatch ... (by rules)"
    )
    screen.print(f"  worker logs {log.parent}/worker*.log")
    screen.print("  Ctrl-C stops everything.")
    events().info(
        "up.ready", ui_url=address.ui_url, deployment=deployments[0], deployments=deployments, worker_log=str(log)
    )


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leaves every block from wherever the program is; what ends processes on the way out is not broken off again."""
    _ignore_endings()
    raise KeyboardInterrupt


def _ignore_endings() -> None:
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
