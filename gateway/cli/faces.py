"""`faceflow faces TARGET`: who is in a video or picture, with the numbers by which `faceflow swap --map` names them.

It takes the same look at the target as a job that maps people, without a server, and writes a sheet with a
thumbnail of everybody.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.gateway.cli.screen import print_json, result_console, waiting
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.locations import local_path
from faceflow.media.facts import MediaInfo
from faceflow.media.picture import PictureFile, is_picture, read_picture
from faceflow.media.probe import probe
from faceflow.progress import Progress
from faceflow.stages.census import Census, Detail, PictureCensus, Scrutiny, VideoCensus, require_people, take_census
from faceflow.stages.people_sheet import check_sheet, write_people_sheet
from faceflow.vision.analyser_networks import EMBEDDED_ANALYSER
from faceflow.vision.person import Person
from faceflow.vision.registry import require_analyser

_TICK_S = 0.2


def faces(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The video or picture.")],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="The sheet to write: .jpg, .png, .webp or .avif; default: NAME.faces.jpg in the current folder.",
        ),
    ] = None,
    analyser: Annotated[
        str,
        typer.Option(
            "--analyser",
            help=(
                "The face detector: `embedded` (the default), `insightface`, or one listed by `faceflow models list`."
            ),
        ),
    ] = EMBEDDED_ANALYSER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """List the people in TARGET and show each face.

    Use the numbers with `faceflow swap --map NUMBER=SOURCE` and the same analyser. Recognising people across shots
    needs the `people` extra or InsightFace's own network.
    """
    settings = current_settings()
    path = local_path(target)
    sheet = local_path(output or f"{path.stem}.faces.jpg")
    described: MediaInfo | PictureFile
    described = read_picture(path, settings.limits) if is_picture(path) else probe(path, settings.limits)
    check_sheet(sheet, path)
    require_analyser(analyser, settings, identifies=True)
    census = _looked_through(path, described, Scrutiny(Detail.TOLD_APART, analyser), settings)
    require_people(census, path)
    note = _sheet_failure(target, census, sheet)
    if as_json:
        print_json(_as_json(path, census, sheet, note))
    else:
        _show(census, sheet, note)


def _sheet_failure(target: str, census: PictureCensus | VideoCensus, sheet: Path) -> str | None:
    """Draws the sheet. Where that fails, who was found is told all the same, with the note that is given here."""
    try:
        write_people_sheet(target, census, sheet)
    except Exception as error:  # noqa: BLE001 - whatever it is, the people were found
        from faceflow.flows.run.aftermath import note_on

        return note_on("The sheet could not be made", error)
    return None


def _looked_through(
    path: Path, described: MediaInfo | PictureFile, scrutiny: Scrutiny, settings: Settings
) -> PictureCensus | VideoCensus:
    begun = shown = time.monotonic()
    with waiting("Scanning the target") as tick:

        def advanced(_frames: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= _TICK_S:
                shown = now
                tick(now - begun)

        return take_census(path, described, scrutiny, settings, progress=Progress(advanced))


def _as_json(path: Path, census: Census, sheet: Path, note: str | None) -> dict[str, Any]:
    return {
        "target": str(path),
        "people": [
            {
                "number": person.number,
                "first_seen_s": round(person.first_seen_s, 3),
                "seconds": round(person.seconds, 3),
                "largest_height_px": round(person.largest_height_px, 1),
                "shots": list(person.shots),
            }
            for person in census.people
        ],
        "shots": len(census.cuts) + 1,
        "told_apart": census.told_apart,
        "sheet": str(sheet) if note is None else None,
        "notes": [] if note is None else [note],
    }


def _show(census: Census, sheet: Path, note: str | None) -> None:
    screen = result_console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("person", "first seen", "on screen", "largest face", "shots"):
        table.add_column(title, justify="right")
    for person in census.people:
        table.add_row(*_row(person, still=isinstance(census, PictureCensus)))
    screen.print(table)
    if not census.told_apart:
        screen.print(
            "[yellow]note[/]  People are told apart by their position within a shot only; the numbers are not "
            "comparable between shots. " + escape("The extra faceflow[people]") + " tells them apart: docs/people.md."
        )
    if note is None:
        screen.print(f"[bold green]sheet[/]  {escape(str(sheet))}")
    else:
        screen.print(f"[yellow]note[/]  {escape(note)}")


def _row(person: Person, *, still: bool) -> tuple[str, ...]:
    times = ("", "") if still else (f"{person.first_seen_s:.1f} s", f"{person.seconds:.1f} s")
    return str(person.number), *times, f"{person.largest_height_px:.0f} px", str(len(person.shots))
