"""`faceflow images`: the copies of the container image near the work pools; who is behind, and bringing it there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.errors import FaceflowError
from faceflow.gateway.cli.screen import print_json, result_console, waiting
from faceflow.infrastructure.machine.images.credentials import credentials_file
from faceflow.infrastructure.machine.images.replicas import Replica, SourceImage, bring, find_source, look
from faceflow.infrastructure.machine.images.skopeo import Skopeo
from faceflow.infrastructure.machine.images.targets import targets
from faceflow.infrastructure.settings import current_settings

app = typer.Typer(
    name="images",
    help="Replicate the container image to registries near the work pools, and show which copies are current.",
    no_args_is_help=True,
)

Image = Annotated[str, typer.Option("--image", help="HOST/REPOSITORY:TAG. Default: FACEFLOW_IMAGES__SOURCE.")]
Pools = Annotated[list[str] | None, typer.Option("--pool", help="Only this work pool's registry; can be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command("replicate")
def replicate(image: Image = "", pools: Pools = None, as_json: AsJson = False) -> None:
    """Copy the image by its digest to every registry and verify it at both ends.

    Run the same command again to continue an interrupted copy: layers that have arrived are not sent again.
    """
    _with_each(image, pools or [], as_json, partial(bring, timeout_s=current_settings().images.timeout_s))


@app.command("status")
def status(image: Image = "", pools: Pools = None, as_json: AsJson = False) -> int:
    """Show which registries have the image, which are behind and for how long. Exit code 1 if one is behind."""
    rows = _with_each(image, pools or [], as_json, look)
    return 0 if all(row["state"] == "current" for row in rows) else 1


def _with_each(
    image: str,
    pools: list[str],
    as_json: bool,
    action: Callable[[SourceImage, str, tuple[str, ...], Skopeo], Replica],
) -> list[dict[str, Any]]:
    """Does it for one registry after the other, shows what became of all, and raises the first failure."""
    settings = current_settings()
    places = targets(settings, pools)
    rows: list[dict[str, Any]] = []
    failures: list[FaceflowError] = []
    with credentials_file(settings) as credentials:
        skopeo = Skopeo(credentials, settings.images.without_tls, threading.Event())
        source = find_source(image, settings, skopeo)
        for place, names in places.items():
            try:
                with waiting(place) as tick:
                    replica = action(source, place, names, replace(skopeo, on_wait=tick))
                rows.append(replica.model_dump(mode="json"))
            except FaceflowError as error:
                failures.append(error)
                rows.append({"pools": list(names), "repository": place, "state": "failed", "error": error.to_dict()})
    if as_json and not failures:
        print_json({**source.model_dump(), "replicas": rows})
    elif not as_json:
        _show(source.image, source.digest, rows)
    if failures:
        raise failures[0]
    return rows


def _show(image: str, digest: str, rows: list[dict[str, Any]]) -> None:
    colours = {"current": "green", "behind": "yellow", "missing": "yellow", "failed": "bold red"}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("registry", "pools", "state", "behind for", "copied in"):
        table.add_column(title, no_wrap=title == "registry")
    for row in rows:
        lag, seconds = row.get("lag_s"), row.get("seconds")
        table.add_row(
            escape(row["repository"]),
            escape(", ".join(row["pools"])),
            f"[{colours[row['state']]}]{row['state']}[/]",
            f"{lag:.0f} s" if lag else "",
            f"{seconds:.1f} s" if seconds else "",
        )
    screen = result_console()
    screen.print(f"{escape(image)}  {digest}")
    screen.print(table)
