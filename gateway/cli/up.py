"""`faceflow up`: server, local pool, deployments and worker in one command; Ctrl-C ends all of it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from types import FrameType
from typing import Annotated

import typer

from faceflow.settings import Settings, current_settings
from gateway.cli.screen import console, waiting
from infrastructure.server.environment import client_environment
from infrastructure.server.lease import end_if_unused, lease_server
from infrastructure.server.record import ServerFiles
from infrastructure.worker import local_worker, require_running

CHECK_S = 1.0


def up(
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Jobs that run at once on this machine.")] = 1,
) -> None:
    """Starts everything on this machine and stays until Ctrl-C: UI, server, local work pool, deployments, worker."""
    settings = current_settings()
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _run(settings, jobs, stopping)
    finally:
        end_if_unused(settings)
        for number, handler in previous.items():
            signal.signal(number, handler)
    console().print("Stopped.")


def _run(settings: Settings, jobs: int, stopping: threading.Event) -> None:
    log = ServerFiles(settings.paths.state).directory / "worker.log"
    with waiting("Starting the local Prefect server") as tick, lease_server(settings, tick) as address:
        os.environ.update(client_environment(settings.paths.state, address.api_url))
        from flows.registration import register_local

        deployment = asyncio.run(register_local(settings.pool.name, jobs))
        with local_worker(settings.pool.name, log) as worker:
            screen = console()
            screen.print(f"[bold]faceflow is up[/]  {address.ui_url}")
            screen.print(f"  deployment  {deployment}   (start runs in the UI, or: faceflow swap --remote ...)")
            screen.print(f"  worker log  {log}")
            screen.print("  Ctrl-C ends all of it.")
            while not stopping.wait(CHECK_S):
                require_running(worker, log)
