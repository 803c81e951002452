"""`faceflow register`: brings the Prefect server to what the list of pools says, or shows what differs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from faceflow.gateway.cli.policy_files import needed_pools
from faceflow.gateway.cli.screen import print_json, result_console, waiting
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.lease import lease_server
from faceflow.infrastructure.settings import current_settings

LONGEST_SHOWN = 60
LONGEST_WAIT_S = 86_400


def register(
    pools: Annotated[
        Path | None, typer.Option("--pools", help="List of pools (YAML or JSON). Default: FACEFLOW_ROUTING__POOLS.")
    ] = None,
    patience_s: Annotated[
        float, typer.Option("--wait", min=0, max=LONGEST_WAIT_S, help="Seconds to wait for the server to respond.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the differences without changing anything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Register pools, queues, deployments, automations and blocks with the server at PREFECT_API_URL.

    Running it again changes nothing. The old pool of a renamed one (`formerly` in the list) stays on the server until
    its runs have ended.
    """
    settings, listed = current_settings(), needed_pools(pools)
    with (
        waiting("Reading the Prefect server's state") as tick,
        lease_server(settings, tick, patience_s=patience_s) as address,
    ):
        point_prefect_at(settings.paths.state, address.api_url)
        from faceflow.flows.server.register import register as bring_up_to_date

        report = asyncio.run(bring_up_to_date(listed, settings, dry_run=dry_run))
    answer = {
        "server": address.api_url,
        "dry_run": dry_run,
        "changes": [change.to_dict() for change in report.changes],
        "unchanged": report.unchanged,
    }
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    screen, changes = result_console(), answer["changes"]
    if changes:
        table = Table("", "what", "name", "difference", title="Changes" if answer["dry_run"] else "Done")
        for change in changes:
            difference = [change["reason"]] if change["reason"] else []
            difference += [_line(**field) for field in change["fields"]]
            table.add_row(change["action"], change["kind"], change["name"], "\n".join(difference))
        screen.print(table)
    what = "differ, nothing was changed" if answer["dry_run"] else "changed"
    screen.print(f"{answer['unchanged']} up to date, {len(changes)} {what}")


def _line(field: str, before: Any, after: Any) -> str:
    shown = [
        text if len(text := str(value)) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..." for value in (before, after)
    ]
    return f"{field}: {shown[0]} -> {shown[1]}" if shown[0] != shown[1] else f"{field}: differs in its details"
