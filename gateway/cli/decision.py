"""`faceflow decision`: why a job ran where it ran, told from what was kept when it was decided."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.errors import JobError, OutputError
from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.routing.wording import explain
from faceflow.infrastructure.settings import current_settings
from faceflow.publish import publishing

if TYPE_CHECKING:
    from faceflow.infrastructure.books.budgets.accounts import Reservation
    from faceflow.infrastructure.books.budgets.approvals import Approval
    from faceflow.infrastructure.books.records.runs import Run
    from faceflow.infrastructure.routing.comparing import Record

app = typer.Typer(help="Show and export recorded decisions: why each job ran where it did.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command()
def show(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The request's id (`request_id`) or its first characters.")],
    as_json: AsJson = False,
) -> None:
    """Show where a job was sent and why, its runs, and their cost."""
    from faceflow.infrastructure.books.budgets.approvals import approvals
    from faceflow.infrastructure.books.budgets.reservations import Budgets
    from faceflow.infrastructure.books.database.database import Database
    from faceflow.infrastructure.books.records.decisions import decisions_of, find_job
    from faceflow.infrastructure.books.records.runs import runs_of

    with Database.open(current_settings()) as database:
        job_id = find_job(database, job)
        records, runs = decisions_of(database, job_id), runs_of(database, job_id)
        money, allowed = Budgets(database).of_job(job_id), approvals(database, job_id)
    if as_json:
        print_json(
            {
                "job": job_id,
                "decisions": [_told(record) for record in records],
                "runs": [run.model_dump(mode="json") for run in runs],
                "reservations": [one.model_dump(mode="json") for one in money],
                "approvals": [one.model_dump(mode="json") for one in allowed],
            }
        )
        return
    screen = result_console()
    for record in records:
        if record.decision is not None:
            screen.print(escape(explain(record.decision)) + "\n")
    _show_runs(runs)
    _show_money(money, allowed)


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; default: standard output.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="Only decisions of this project.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only decisions from this date or time (UTC) on.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only decisions before this date or time (UTC).")] = None,
) -> None:
    """Export recorded decisions as JSON Lines, for `faceflow policy replay` and `diff --records`."""
    from faceflow.infrastructure.books.database.database import Database
    from faceflow.infrastructure.books.records.decisions import kept_decisions

    bounds = [None if text is None else _moment(text) for text in (since, until)]
    with Database.open(current_settings()) as database:
        records = kept_decisions(database, project, *bounds)
        if output is None:
            for record in records:
                typer.echo(record.model_dump_json())
            return
        try:
            with publishing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
                count = sum(bool(file.write(record.model_dump_json() + "\n")) for record in records)
        except OutputError as error:
            raise OutputError(
                "output.unwritable", error.message, "Choose a file in an existing folder that you can write to."
            ) from error
    result_console().print(escape(f"{count} decisions in {output}"))


def _told(record: Record) -> dict[str, Any]:
    told = record.model_dump(mode="json") if record.decision is None else record.decision.model_dump(mode="json")
    return {**told, "explanation": "" if record.decision is None else explain(record.decision)}


def _show_runs(runs: list[Run]) -> None:
    from faceflow.infrastructure.books.records.runs import RunState

    if not runs:
        return
    screen = result_console()
    table = Table("attempt", "pool", "state", "began", "GPU-s", "by table", "USD", box=None, padding=(0, 2, 0, 0))
    for run in runs:
        said = run.error_code or run.reason
        state = f"{run.state} ({said})" if said else str(run.state)
        table.add_row(
            str(run.attempt),
            escape(f"{run.pool} {run.part}".rstrip()),
            escape(state),
            _clock(run.started_at),
            "" if run.gpu_s is None else f"{run.gpu_s:.0f}",
            "" if run.estimated_gpu_s is None else f"{run.estimated_gpu_s:.0f}",
            "" if run.cost_usd is None else f"{run.cost_usd:.4f}",
        )
    screen.print(table)
    if any(run.state is RunState.SUBMITTED for run in runs):
        every_s = current_settings().routing.reconcile_s
        screen.print(
            f"submitted: still running, or finished but not yet recorded; runs are recorded every {every_s:.0f} s"
        )


def _show_money(money: list[Reservation], allowed: list[Approval]) -> None:
    screen = result_console()
    for one in money:
        spent = "" if one.spent_usd is None else f", {one.spent_usd} USD spent{' (assumed)' if one.assumed else ''}"
        said = f"attempt {one.attempt}: {one.amount_usd} USD reserved for {one.month}, {one.state}{spent} {one.why}"
        screen.print(escape(said.rstrip()))
    for act in allowed:
        screen.print(
            escape(f"{_clock(act.allowed_at)}: {act.allowed_by} allowed {act.extra_usd} USD more. {act.why}".rstrip())
        )


def _clock(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise JobError(
            "job.usage", f"{text!r} is not a date or time.", "Write 2026-12-24 or 2026-12-24T18:00:00+00:00."
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
