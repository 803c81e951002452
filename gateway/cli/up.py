"""`faceflow up`: server, local pool, deployments and worker in one command; Ctrl-C ends all of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from faceflow.log import events
from faceflow.settings import Settings, current_settings
from gateway.cli.screen import console, waiting
from infrastructure.server.environment import client_environment
from infrastructure.server.lease import ServerAddress, end_if_unused, lease_server, only_up
from infrastructure.server.record import ServerFiles
from infrastructure.worker import local_worker, require_running, worker_name

CHECK_S = 1.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Jobs that run at once on this machine.")] = 1,
) -> None:
    """Starts everything on this machine and stays until Ctrl-C: UI, server, local work pool, deployments, worker."""
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


def _run(settings: Settings, jobs: int) -> NoReturn:
    pool, name = settings.pool.name, worker_name(settings.paths.state)
    log = ServerFiles(settings.paths.state).directory / "worker.log"
    with ExitStack() as stack:
        with waiting("Starting the local Prefect server") as tick:
            address = stack.enter_context(lease_server(settings, tick))
            os.environ.update(client_environment(settings.paths.state, address.api_url))
            from flows.registration import end_abandoned_runs, register_work_pool

            deployment = asyncio.run(register_work_pool(pool, jobs))
            # Those of an earlier `faceflow up` that could not do it itself.
            asyncio.run(end_abandoned_runs(pool, name, only_worker=address.owned))
        try:
            with local_worker(pool, settings.pool.zone, name, log) as worker:
                _say_so(address, deployment, log)
                while True:
                    require_running(worker, log)
                    time.sleep(CHECK_S)
        finally:
            asyncio.run(end_abandoned_runs(pool, name, only_worker=address.owned))


def _say_so(address: ServerAddress, deployment: str, log: Path) -> None:
    screen = console()
    screen.print(f"[bold]faceflow is up[/]  {address.ui_url}")
    screen.print(f"  deployment  {deployment}   (start runs in the UI, or: faceflow swap --remote ...)")
    screen.print(f"  worker log  {log}")
    screen.print("  Ctrl-C ends all of it.")
    events().info("up.ready", ui_url=address.ui_url, deployment=deployment, worker_log=str(log))


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leaves every block from wherever the program is; what ends processes on the way out is not broken off again."""
    _ignore_endings()
    raise KeyboardInterrupt


def _ignore_endings() -> None:
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
