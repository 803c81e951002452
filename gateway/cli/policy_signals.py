"""`faceflow policy signals` and `explain --live`: the signals of this moment, with their age and source."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.errors import FaceflowError
from faceflow.gateway.cli.policy_files import needed_pools
from faceflow.gateway.cli.policy_sources import named_server
from faceflow.gateway.cli.screen import console, print_json, result_console
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.snapshot import JobFacts, MoneySignal, Snapshot
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.sources.signals.arriving_work_source import Arrivals
from faceflow.infrastructure.sources.signals.board import SignalBoard, SourceReport
from faceflow.infrastructure.sources.signals.configured import signal_board

if TYPE_CHECKING:
    from faceflow.infrastructure.books.database.database import Database

_COLUMNS = ("free_gpus", "queue_depth", "utilisation", "spot_price_usd", "paused")


def live_snapshot(pools: Pools, job: JobFacts) -> Snapshot:
    """The signals of this moment, with what is left of the job's project; sources that fail are named on stderr."""
    with ExitStack() as stack:
        database = _database(stack, current_settings())
        board = _board(stack, current_settings(), pools, database)
        snapshot, reports = asyncio.run(_both(board))
        if database is not None:
            snapshot = _with_books(snapshot, database, job)
    for report in reports:
        if report.failure is not None:
            console().print(f"[yellow]note[/] {escape(report.name)}: {escape(report.failure)}")
    return snapshot


def signals(
    pools: Annotated[Path | None, typer.Option("--pools", help="List of pools (YAML or JSON).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> int:
    """Query every source of signals now and show the answers. Exit code 1 if one fails."""
    known = needed_pools(pools)
    with ExitStack() as stack:
        settings = current_settings()
        board = _board(stack, settings, known, _database(stack, settings))
        snapshot, reports = asyncio.run(_both(board))
    if as_json:
        print_json({"snapshot": snapshot.model_dump(mode="json"), "sources": [_as_json(one) for one in reports]})
    else:
        _show(known, snapshot, reports)
    return 1 if any(report.failure is not None for report in reports) else 0


def _board(stack: ExitStack, settings: Settings, pools: Pools, database: Database | None) -> SignalBoard:
    if settings.signals.prefect:
        stack.enter_context(named_server(settings))
    return signal_board(settings, pools, arrivals=None if database is None else _arrivals(database))


def _arrivals(database: Database) -> Arrivals:
    from faceflow.infrastructure.books.records.decisions import arrived_reference_s

    async def arrivals(window_s: float) -> float:
        since = datetime.now(UTC) - timedelta(seconds=window_s)
        return await asyncio.to_thread(arrived_reference_s, database, since)

    return arrivals


def _database(stack: ExitStack, settings: Settings) -> Database | None:
    """The database, where there is one already; looking at signals makes none."""
    from faceflow.infrastructure.books.database.database import Database

    if settings.database.url is None and not (settings.paths.state / "faceflow.db").is_file():
        return None
    try:
        return stack.enter_context(Database.open(settings))
    except FaceflowError as error:
        console().print(f"[yellow]note[/] {escape(error.message)}")
        return None


def _with_books(snapshot: Snapshot, database: Database, job: JobFacts) -> Snapshot:
    from faceflow.infrastructure.books.budgets.limits import left_usd
    from faceflow.infrastructure.books.records.corrections import corrections

    left = left_usd(database, job.project, snapshot.now, job.id)
    budget = None if left is None else MoneySignal(value=left, source="budgets")
    return snapshot.model_copy(update={"budget_left_usd": budget, "corrections": corrections(database)})


async def _both(board: SignalBoard) -> tuple[Snapshot, list[SourceReport]]:
    reports = await board.ask(fresh=True)
    return board.snapshot_of(reports), reports


def _as_json(report: SourceReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "asked_at": None if report.asked_at is None else report.asked_at.isoformat(),
        "took_s": round(report.took_s, 3),
        "failure": report.failure,
        "readings": [reading.model_dump(mode="json") for reading in report.readings],
    }


def _show(pools: Pools, snapshot: Snapshot, reports: list[SourceReport]) -> None:
    now = datetime.now(UTC)
    values: dict[tuple[str | None, str], str] = {}
    for report in reports:
        for reading in report.readings:
            age_s = (now - reading.measured_at).total_seconds()
            text = f"{float(reading.value):.6g} [dim]{escape(report.name)}, {age_s:.0f} s[/]"
            if reading.figure == "paused":
                text = escape(reading.note) or "no"
            values.setdefault((reading.pool, reading.figure.value), text)
    screen = result_console()
    table = Table(
        "pool", "free GPUs", "queue", "utilisation", "spot, USD/GPU-h", "paused", box=None, padding=(0, 2, 0, 0)
    )
    for pool in pools.pools:
        table.add_row(escape(pool.name), *(values.get((pool.name, column), "[dim]-[/]") for column in _COLUMNS))
    screen.print(table)
    load = snapshot.peak_load
    screen.print(f"peak load: {'-' if load.value is None else f'{load.value:.3g} ({escape(load.source)})'}")
    for report in reports:
        state = "[green]good[/]" if report.failure is None else f"[yellow]{escape(report.failure)}[/]"
        screen.print(f"{escape(report.name)}: {state}, {len(report.readings)} readings in {report.took_s:.2f} s")
    if not reports:
        screen.print("no source of signals is configured (docs/routing.md)")
