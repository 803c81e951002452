"""`faceflow simulate`: what a day would cost under one policy or several, and who would wait."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.errors import JobError, OutputError
from faceflow.gateway.cli.policy_files import needed_pools
from faceflow.gateway.cli.policy_sources import rules_from
from faceflow.gateway.cli.screen import console, print_json, result_console
from faceflow.infrastructure.routing.loading import load_model
from faceflow.infrastructure.routing.pools import Capacity, Pools
from faceflow.infrastructure.sources.policy_files import read_text
from faceflow.installation import installation
from faceflow.publish import publishing

if TYPE_CHECKING:
    from faceflow.infrastructure.routing.simulation.day import Day
    from faceflow.infrastructure.routing.simulation.report import Report, Waits

NARROWEST = 118
"""Columns that the tables need; a file or a pipe has none of its own."""


def simulate(
    rules: Annotated[list[str] | None, typer.Argument(help="Rules files or sources; several are compared.")] = None,
    pools: Annotated[Path | None, typer.Option("--pools", help="List of pools.")] = None,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", help="Scenario file: classes of jobs, prices, cost of a missed job.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Recorded arrivals (CSV), used instead of the scenario's classes.")
    ] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Folder for cost.svg and day.svg.")] = None,
    records: Annotated[
        Path | None,
        typer.Option("--records", help="File for 1,000 decisions of the first policy, for `faceflow policy replay`."),
    ] = None,
    bound: Annotated[bool, typer.Option("--bound/--no-bound", help="Also compute the lower bound.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Simulate a day with the real decisions and report cost, deadlines met, waits and GPU use."""
    # SciPy and simpy take a moment to load, which no other command needs.
    from faceflow.infrastructure.routing.simulation.arrivals import generate, jobs_in
    from faceflow.infrastructure.routing.simulation.bound import lower_bound_usd
    from faceflow.infrastructure.routing.simulation.day import simulate as simulate_day
    from faceflow.infrastructure.routing.simulation.plots import cost_chart, day_chart
    from faceflow.infrastructure.routing.simulation.report import report
    from faceflow.infrastructure.routing.simulation.scenario import Scenario
    from faceflow.infrastructure.routing.simulation.trace import class_names, read_trace

    if scenario is None and trace is None:
        raise JobError(
            "job.usage",
            "No scenario or trace was given.",
            f"Use --scenario FILE ({installation().example('scenarios/campaign-day.yaml')}) or --trace FILE.",
        )
    known = needed_pools(pools)
    world = Scenario() if scenario is None else load_model(Scenario, read_text(scenario), str(scenario))
    if trace is None:
        units, names = generate(world), tuple(one.name for one in world.classes)
    else:
        units = read_trace(read_text(trace), str(trace))
        names = class_names(units)
    days: list[tuple[str, Day]] = []
    reports: list[Report] = []
    chosen: list[str | None] = [*rules] if rules else [None]  # None: those that the settings name
    for address in chosen:
        policy = rules_from(address, known)
        name = Path(address).stem if address is not None else "rules"
        begun = time.monotonic()
        day = simulate_day(world, units, policy, known, keep_records=1000 if records and not days else 0)
        console().print(f"{escape(name)}: {jobs_in(units)} jobs simulated in {time.monotonic() - begun:.1f} s")
        days.append((name, day))
        reports.append(report(day, name, names))
    least = lower_bound_usd(world, units, known) if bound and units else None
    if records is not None:
        _write(records, "".join(record.model_dump_json() + "\n" for record in days[0][1].records))
    if plots is not None:
        _write(plots / "cost.svg", cost_chart(reports, least, _owned(known)))
        _write(plots / "day.svg", day_chart(days))
    if as_json:
        print_json(
            {
                "scenario": world.name,
                "jobs": jobs_in(units),
                "lower_bound_usd": None if least is None else round(least, 2),
                "policies": [one.model_dump(mode="json") for one in reports],
            }
        )
    else:
        _show(reports, least)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "output.not_writable",
            f"The folder {str(path.parent)!r} cannot be made: {error.strerror}.",
            "Choose a folder that you can write to.",
        ) from error
    with publishing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _owned(pools: Pools) -> frozenset[str]:
    return frozenset(pool.name for pool in pools.pools if pool.capacity is Capacity.OWNED)


def _show(reports: list[Report], least: float | None) -> None:
    screen = result_console()
    screen.width = max(screen.width, NARROWEST)
    table = Table(
        "policy", "in time", "late", "not done", "wait p50/p95/p99, s", "paid, USD", "missed, USD", "total, USD",
        "over the bound", box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for one in reports:
        over = "" if not least else f"x {one.total_usd / least:.2f}"
        table.add_row(
            escape(one.policy), f"{one.in_time_share:.2%}", str(one.late), str(one.undone), _waits(one.waits),
            f"{one.paid_usd:.2f}", f"{one.missed_usd:.2f}", f"{one.total_usd:.2f}", over,
        )  # fmt: skip
    screen.print(table)
    if least is not None:
        screen.print(f"lower bound: no policy over these pools can cost less than {least:.2f} USD in total")
    for one in reports:
        screen.print()
        classes = Table(f"{one.policy}: jobs", "number", "in time", "late", "not done", "wait p50/p95/p99, s",
                        box=None, padding=(0, 2, 0, 0))  # fmt: skip
        for kind in one.classes:
            classes.add_row(
                escape(kind.name),
                str(kind.jobs),
                str(kind.in_time),
                str(kind.late),
                str(kind.undone),
                _waits(kind.waits),
            )
        screen.print(classes)
        heads = ("jobs", "GPU-hours", "use", "interruptions", "machines, USD", "egress, USD")
        used = Table(f"{one.policy}: pools", *heads, box=None, padding=(0, 2, 0, 0))
        for pool in one.pools:
            used.add_row(
                escape(pool.name), str(pool.jobs), f"{pool.gpu_hours:.1f}", f"{pool.use:.0%}", str(pool.interruptions),
                f"{pool.machines_usd:.2f}", f"{pool.egress_usd:.2f}",
            )  # fmt: skip
        screen.print(used)


def _waits(waits: Waits) -> str:
    parts = [waits.p50_s, waits.p95_s, waits.p99_s]
    return " / ".join("-" if part is None else f"{part:.0f}" for part in parts)
