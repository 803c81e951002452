"""What a person sees: the progress bar, the result, and an error with what to do about it.

Results go to standard output, everything else to standard error. With `--json`, standard output carries exactly
one object, whether the command succeeded or failed. With JSON log lines, standard error carries nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from faceflow.errors import AnswerError, FaceflowError
from faceflow.locations import in_store
from faceflow.log import events
from faceflow.standard_error import error_stream, speaks_json

SAY_S = 15.0
"""How often a wait is reported without a terminal, seconds."""

if TYPE_CHECKING:
    from faceflow.flows.run.progress import Snapshot
    from faceflow.infrastructure.machine.ledger import JobRecord
    from faceflow.stages.results import Delivery


class Tick(Protocol):
    """Told how long somebody has waited, seconds, and what for."""

    def __call__(self, waited_s: float, at: str = "") -> None:
        """Tells how long it has been, and what the other side is at."""


def console() -> Console:
    """The console for people, on standard error; it is silent where JSON log lines are asked for."""
    return Console(file=error_stream(), highlight=False, soft_wrap=True, quiet=speaks_json())


def result_console() -> Console:
    """The console for results, on standard output."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output; in ASCII where its characters or its encoding allow nothing else."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(value)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_error(error: FaceflowError, *, as_json: bool) -> None:
    """The error with its code and resolution."""
    if speaks_json():
        events().error("program.failed", **error.to_dict())
    if as_json:
        with suppress(AnswerError):  # then in words, on standard error
            print_json(error.to_dict())
            return
    screen = console()
    screen.print(f"[bold red]error[/] [dim]{escape(error.code)}[/]  {escape(error.message)}")
    screen.print(f"[bold]what to do[/]  {escape(error.resolution)}")


def record_json(record: JobRecord) -> dict[str, Any]:
    """What `--json` prints for a finished job."""
    return {
        "output": _place(record.delivery),
        "link": record.delivery.link,
        "link_expires_at": until.isoformat() if (until := record.delivery.link_expires_at) is not None else None,
        "frames": record.frames,
        "faces": record.faces,
        "engine": record.engine,
        "seconds": record.seconds,
        "stages": record.stages,
        "job_id": record.job_id,
        "size_bytes": record.delivery.size_bytes,
        "sha256": record.delivery.sha256,
        "notes": list(record.notes),
        "already_done": record.already_done,
    }


def _place(delivery: Delivery) -> str:
    """Where the result lies: the path of a file, the address of an object in a store."""
    return delivery.uri if in_store(delivery.uri) else delivery.link


def show_record(record: JobRecord) -> None:
    """The result of a job, as a small table."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("output", escape(_place(record.delivery)))
    if record.delivery.link != _place(record.delivery):
        until = record.delivery.link_expires_at
        table.add_row(
            "link" if until is None else f"link, until {until:%Y-%m-%d %H:%M} UTC", escape(record.delivery.link)
        )
    rate = f"  ({record.frames / record.seconds:.1f} frames per second)" if record.seconds else ""
    by = f" by {record.engine}" if record.engine else ""
    faces = "swapped face" if record.faces == 1 else "swapped faces"
    table.add_row("frames", f"{record.frames}, with {record.faces} {faces}{by}")
    if record.already_done:
        table.add_row("already done", "an earlier run finished this job; the times shown are from that run")
    table.add_row("time", f"{record.seconds:.1f} s{rate}")
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in record.stages.items() if seconds >= 0.05)
    table.add_row("stages, s", spent)
    for note in record.notes:
        table.add_row("note", escape(note))
    result_console().print(table)


@contextmanager
def progress_bar() -> Iterator[Callable[[Snapshot], None]]:
    """A bar with frames, frames per second and time left; gives the function that moves it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console(), transient=True) as bar:
        row = bar.add_task("starting", total=1.0, detail="")

        def move(snapshot: Snapshot) -> None:
            parts = []
            if snapshot.frames:
                parts.append(f"{snapshot.frames_done:.0f}/{snapshot.frames} frames")
            elif snapshot.frames_done:
                parts.append(f"{snapshot.frames_done:.0f} frames counted")
            if snapshot.frames_a_second is not None:
                parts.append(f"{snapshot.frames_a_second:.1f} fps")
            if snapshot.left_s is not None:
                parts.append(f"{_clock(snapshot.left_s)} left")
            bar.update(row, completed=snapshot.fraction, description=snapshot.stage, detail="  ".join(parts))

        yield move


@contextmanager
def waiting(text: str) -> Iterator[Tick]:
    """A spinner with the seconds waited and what for; nothing is shown where there is no wait.

    Where no terminal is, a line is written at the start and then every `SAY_S` seconds.
    """
    screen = console()
    status = screen.status(text)
    next_s = 0.0

    def tick(waited_s: float, at: str = "") -> None:
        nonlocal next_s
        now = f"{text}{': ' if at else ''}{at} ({waited_s:.0f} s)"
        line = now if next_s else text
        if not next_s and screen.is_terminal:
            status.start()
        if waited_s >= next_s:
            next_s = waited_s + SAY_S
            events().info("program.waiting", what=text, at=at, waited_s=round(waited_s, 1))
            if not screen.is_terminal:
                screen.print(line, markup=False)
        status.update(escape(now))

    try:
        yield tick
    finally:
        status.stop()


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
