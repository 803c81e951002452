"""`faceflow campaign`: thousands of short jobs from one list, and how they stand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from faceflow.errors import JobError, OutputError, stopped
from faceflow.gateway.cli.remote_run import require_server
from faceflow.gateway.cli.request import operator
from faceflow.gateway.cli.screen import console, print_json, result_console
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.lease import lease_server
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.locations import in_store, local_path
from faceflow.log import events

if TYPE_CHECKING:
    from faceflow.infrastructure.books.campaigns.figures import Counts
    from faceflow.infrastructure.books.campaigns.report import CampaignReport
    from faceflow.infrastructure.books.campaigns.rows import Rows
    from faceflow.infrastructure.books.campaigns.sources import CampaignSource

app = typer.Typer(help="Run campaigns: thousands of short jobs from one list.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Report = Annotated[
    Path | None, typer.Option("--report", help="Write the state of every job to a .csv, .json or .jsonl file.")
]
SHOWN_MISSING = 20


@app.command()
def run(
    manifest: Annotated[
        Path | None, typer.Argument(metavar="[MANIFEST]", help="CSV or JSON Lines file with one job per line.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="The campaign's name; default: the manifest's name.", show_default=False),
    ] = None,
    portraits: Annotated[
        str,
        typer.Option(
            "--portraits",
            metavar="FOLDER|PREFIX",
            help=(
                "Instead of a manifest: take the portraits in this folder or under this store prefix "
                "(s3://bucket/prefix), ..."
            ),
            show_default=False,
        ),
    ] = "",
    target: Annotated[
        str, typer.Option("--target", help="... put each of them into this video, ...", show_default=False)
    ] = "",
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="... and write the results to this folder or prefix.", show_default=False),
    ] = "",
    defaults: Annotated[
        Path | None,
        typer.Option(
            "--defaults", help="Values that all rows share (YAML or JSON), written like a row of the manifest."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Retry the jobs that failed.")] = False,
    check_files: Annotated[
        bool, typer.Option("--check-files/--no-check-files", help="Check first that all inputs exist on this machine.")
    ] = True,
    report: Report = None,
    as_json: AsJson = False,
) -> int:
    """Run a campaign to its end; run it again to do the missing jobs. Exit code 1 if not all jobs are done."""
    from faceflow.infrastructure.books.campaigns.report import write_report
    from faceflow.infrastructure.books.campaigns.sources import CampaignSource
    from faceflow.infrastructure.books.database.database import Database

    settings = current_settings()
    source = CampaignSource(
        manifest="" if manifest is None else str(manifest),
        portraits=portraits,
        target=target,
        output=output,
        defaults=_defaults(defaults),
    )
    rows = _rows(source, settings)
    if check_files:
        _require_folder(output)
        _require_inputs(rows, source.location)
    chosen = name or _name_of(source.location)
    with Database.open(settings) as database:
        _remember(database, chosen, source.location, rows)
    found = _drive(chosen, settings, again=again)
    if report is not None:
        with Database.open(settings) as database:
            write_report(database, chosen, report)
    _show(found, as_json)
    return 0 if found.done == found.jobs else 1


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The campaign's name; default: the newest campaign.")
    ] = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of a campaign's jobs: by pool, by failure, late ones, cost."""
    from faceflow.infrastructure.books.campaigns.books import campaign_names, require_campaign
    from faceflow.infrastructure.books.campaigns.report import report_of, write_report
    from faceflow.infrastructure.books.database.database import Database

    with Database.open(current_settings()) as database:
        names = campaign_names(database)
        if not names:
            raise JobError(
                "job.unknown_campaign", "There is no campaign yet.", "Start one with `faceflow campaign run MANIFEST`."
            )
        chosen = name or names[0]
        require_campaign(database, chosen)
        found = report_of(database, chosen)
        if report is not None:
            write_report(database, chosen, report)
    _show(found, as_json)


def _rows(source: CampaignSource, settings: Settings) -> Rows:
    from faceflow.infrastructure.books.campaigns.sources import read_source
    from faceflow.infrastructure.stores.resolve import is_in_block

    source.require_whole()
    if not is_in_block(source.portraits, settings):
        return read_source(source, settings)
    with _server(settings):  # it alone knows such a store
        return read_source(source, settings)


def _defaults(path: Path | None) -> dict[str, Any]:
    """What all rows share. The user of the command declares the consent unless the rows say something else."""
    from faceflow.infrastructure.routing.document import read_document
    from faceflow.infrastructure.sources.policy_files import read_text

    declared = {
        "subject": "the person in the source portraits",
        "scope": "this face swap",
        "declared_by": operator(),
    }
    if path is None:
        return {"consent": declared}
    document = read_document(read_text(path))
    if document.problems or not isinstance(document.value, dict):
        what = "; ".join(map(str, document.problems)) or "the file must hold keys and values"
        raise JobError("job.manifest_invalid", f"{path}: {what}", "Correct the defaults file. Nothing was started.")
    return {"consent": declared, **document.value}


def _require_folder(output: str) -> None:
    """Raises OutputError `output.folder_missing` where there is no such folder on this machine."""
    if output and not in_store(output) and not local_path(output).is_dir():
        there = local_path(output).exists()
        raise OutputError(
            "output.folder_missing",
            f"The output {output!r} is a file; campaigns write to a folder."
            if there
            else f"The folder {output!r} for the results does not exist.",
            "Create the folder, or choose another one with -o. Nothing was started.",
        )


def _require_inputs(rows: Rows, source: str) -> None:
    """Every portrait, target and reference is a file here, and every output's folder is there.

    Raises:
        JobError: `job.manifest_invalid`, naming the lines.
    """
    there: dict[str, bool] = {}
    missing = []
    for row in rows:
        job = row.job
        inputs = [job.target, *(portrait for one in job.sources for portrait in one.portraits)]
        inputs += [mapping.reference for mapping in job.face_map if mapping.reference]
        for location in inputs:
            if in_store(location):
                continue
            if not there.setdefault(location, local_path(location).is_file()):
                missing.append(f"line {row.line}: {location} does not exist")
        if in_store(job.output):
            continue
        folder = str(local_path(job.output).parent)
        if not there.setdefault(folder, local_path(folder).is_dir()):
            missing.append(f"line {row.line}: the folder {folder} does not exist")
    if missing:
        more = f" ... and {len(missing) - SHOWN_MISSING} more" if len(missing) > SHOWN_MISSING else ""
        raise JobError(
            "job.manifest_invalid",
            f"{source}: {'; '.join(missing[:SHOWN_MISSING])}{more}",
            "Correct these lines, or use --no-check-files if the inputs are on other machines. Nothing was started.",
        )


def _name_of(source: str) -> str:
    """The manifest's name with a mark of where it lies, so that two of one name differ."""
    return f"{Path(source).stem}-{hashlib.sha256(source.encode()).hexdigest()[:6]}"


def _remember(database: Any, name: str, source: str, rows: Rows) -> None:
    from faceflow.infrastructure.books.campaigns.books import remember_campaign

    new = remember_campaign(database, name, source, rows, datetime.now(UTC))
    console().print(f"campaign {escape(name)}: {len(rows)} jobs, {new} of them new")


@contextmanager
def _server(settings: Settings) -> Iterator[None]:
    """The Prefect server of this process, until the block ends."""
    require_server(settings, "a campaign")
    with lease_server(settings) as address:
        point_prefect_at(settings.paths.state, address.api_url, quiet=True)
        yield


def _drive(name: str, settings: Settings, *, again: bool) -> CampaignReport:
    with _server(settings):
        from faceflow.flows.campaigns.report_artifacts import observed_campaign
        from faceflow.flows.render_campaign import render_campaign
        from faceflow.flows.run.reasons import was_stopped
        from faceflow.flows.run.termination import sigterm_is_raised

        with _bar(name) as move, observed_campaign(move):
            try:
                with sigterm_is_raised():
                    return asyncio.run(render_campaign(campaign=name, again=again))
            except BaseException as error:
                if was_stopped(error):
                    raise stopped() from None
                raise


@contextmanager
def _bar(name: str) -> Iterator[Callable[[Counts, str], None]]:
    """How many jobs have ended, have failed, are running or queued."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TextColumn("{task.completed:.0f}/{task.total:.0f} jobs"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    said: tuple[int, int, str] | None = None
    with Progress(*columns, console=console(), transient=True) as bar:
        row = bar.add_task(escape(name), total=1, detail="")

        def move(counts: Counts, held: str) -> None:
            nonlocal said
            parts = [f"{counts.placed} running or queued"]
            parts += [f"[red]{counts.failed} failed[/]"] if counts.failed else []
            parts += [f"[yellow]held: {escape(held)}[/]"] if held else []
            bar.update(row, completed=counts.ended, total=counts.jobs, detail="  ".join(parts))
            if said != (counts.ended, counts.placed, held):
                said = (counts.ended, counts.placed, held)
                events().info("campaign.followed", campaign=name, held=held, **counts.model_dump())

        yield move


def _show(report: CampaignReport, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    screen = result_console()
    parts = [f"{report.done} of {report.jobs} done"]
    for count, what in ((report.failed, "failed"), (report.placed, "running or queued"), (report.waiting, "waiting")):
        parts += [f"{count} {what}"] if count else []
    screen.print(
        escape(f"campaign {report.campaign}: {', '.join(parts)}; {report.late} late; {report.cost_usd:.4f} USD")
    )
    if report.by_pool:
        table = Table("pool", "done", "failed", "late", "seconds", "USD", box=None, padding=(0, 2, 0, 0))
        for one in report.by_pool:
            figures = (one.done, one.failed, one.late, f"{one.seconds:.0f}", f"{one.cost_usd:.4f}")
            table.add_row(escape(one.pool), *map(str, figures))
        screen.print(table)
    for code, count in report.by_code.items():
        screen.print(escape(f"{count} failed with {code}"))
    if report.held:
        screen.print(escape(f"held: {report.held}"))
