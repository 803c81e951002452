"""What a person sees of models: the table, a bar for every file that comes, and what became of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from faceflow.gateway.cli.screen import console, result_console
from faceflow.infrastructure.models.watching import EventWatcher, PullWatcher
from faceflow.standard_error import speaks_json
from faceflow.vision.model_cache import CacheState
from faceflow.vision.model_catalogue import Licence

_STATES = {
    CacheState.MISSING: "[dim]no[/]",
    CacheState.DAMAGED: "[bold red]damaged[/]",
    CacheState.PRESENT: "[yellow]not verified[/]",
    CacheState.VERIFIED: "[green]verified[/]",
}
_TABLE_WIDTH = 110
"""Names are never cut, whatever the terminal."""
_LINE_STEP = 0.25
"""Where no terminal is, a line is written at every quarter of a file."""


def show_models(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """The table of `faceflow models list`."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("model", "kind", "size", "commercial", "installed", "licence"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row["name"]),
            row["kind"],
            megabytes(row["size_bytes"]),
            "[green]yes[/]" if row["commercial"] else "no",
            _STATES[row["state"]],
            escape(row["licence"]),
        )
    screen = result_console()
    screen.width = max(screen.width, _TABLE_WIDTH)
    screen.print(table)
    screen.print()
    for name, title in {row["licence"]: f"{row['licence_title']}  {row['licence_url']}" for row in rows}.items():
        screen.print(f"[dim]{escape(f'{name:<16}{title}')}[/]")
    screen.print(f"[dim]{'folder':<16}{escape(str(folder))}[/]")


def show_report(report: Mapping[str, Any]) -> None:
    """What a pull or an import did."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    titles = {"pulled": "pulled", "imported": "imported", "present": "there already, verified", "folder": "folder"}
    for key, title in titles.items():
        value = report.get(key)
        if value:
            table.add_row(title, escape(value if isinstance(value, str) else ", ".join(value)))
    result_console().print(table)


def show_checks(checks: Sequence[Mapping[str, Any]]) -> None:
    """What `faceflow models verify` found."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for check in checks:
        if check["good"]:
            how = "as published" if check["published"] else "same as when it was first used"
            table.add_row("[green]good[/]", escape(check["name"]), f"[dim]{how}[/]")
        else:
            error = check["error"]
            table.add_row(
                "[bold red]bad[/]",
                escape(check["name"]),
                f"{escape(error['message'])}\n[dim]{escape(error['resolution'])}[/]",
            )
    result_console().print(table if checks else "No model is installed.")


def show_accepted(licences: Iterable[Licence]) -> None:
    """Which terms were accepted just now."""
    screen = console()
    for licence in licences:
        screen.print(f"accepted  {escape(licence.name)}  [dim]{escape(f'{licence.title} {licence.url}'.strip())}[/]")


def megabytes(size: int | None) -> str:
    """A size for people."""
    return "?" if not size else f"{size / 1e6:.1f} MB"


@contextmanager
def pull_screen() -> Iterator[PullWatcher]:
    """Bars on a terminal, lines elsewhere, events where JSON log lines are asked for."""
    screen = console()
    if speaks_json():
        yield EventWatcher()
    elif not screen.is_terminal:
        yield _Lines(screen)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=screen, transient=True) as bars:
            yield _Bars(bars)


class _Bars:
    """A bar for every file."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._lock = threading.Lock()
        self._rows: dict[str, TaskID] = {}

    def moved(self, name: str, done_bytes: int, size_bytes: int | None) -> None:
        self._bars.update(self._row(name), description=name, completed=done_bytes, total=size_bytes)

    def waiting(self, name: str) -> None:
        self._bars.update(
            self._row(name), description=f"{name} [dim](another process is downloading it)[/]", total=None
        )

    def finished(self, name: str) -> None:
        self._bars.update(self._row(name), visible=False)

    def _row(self, name: str) -> TaskID:
        with self._lock:
            if name not in self._rows:
                self._rows[name] = self._bars.add_task(name, total=None)
            return self._rows[name]


class _Lines:
    """A line when a file begins, at every quarter, and when it is there."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}

    def moved(self, name: str, done_bytes: int, size_bytes: int | None) -> None:
        fraction = done_bytes / size_bytes if size_bytes else 0.0
        with self._lock:
            said = self._said.get(name)
            if said is not None and said <= fraction < said + _LINE_STEP:
                return
            self._said[name] = fraction
        self._say(name, f"{megabytes(done_bytes) if done_bytes else '0 MB'} of {megabytes(size_bytes)}")

    def waiting(self, name: str) -> None:
        with self._lock:
            if self._said.get(name) == -1.0:
                return
            self._said[name] = -1.0
        self._say(name, "another process is downloading it")

    def finished(self, name: str) -> None:
        self._say(name, "verified")

    def _say(self, name: str, what: str) -> None:
        self._screen.print(f"{name}  {what}", markup=False)
