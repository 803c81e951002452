"""`faceflow policy push` and `show`: new rules into a source, and what is in force from it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.gateway.cli.policy_files import needed_pools
from faceflow.gateway.cli.policy_sources import at, prefect_server, rules_text
from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.sources.rules.addresses import configured_source, open_source
from faceflow.infrastructure.sources.rules.pushing import Pushed, push_rules
from faceflow.infrastructure.sources.rules.rule_source import RuleSource
from faceflow.infrastructure.sources.rules.state import RuleState
from faceflow.infrastructure.sources.rules.watching import rule_state

Pools_ = Annotated[Path | None, typer.Option("--pools", help="List of pools (YAML or JSON).")]
Json_ = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def push(
    rules: Annotated[str, typer.Argument(help="Rules file, or source to copy from.")],
    to: Annotated[
        str | None, typer.Option("--to", help="Destination source; default: the source in the settings.")
    ] = None,
    pools: Pools_ = None,
    as_json: Json_ = False,
) -> None:
    """Check rules and put them in force. Their version must be higher than that of the current rules."""
    settings = current_settings()
    known = needed_pools(pools)
    text = rules_text(rules)
    with prefect_server(to or settings.routing.rules, settings):
        source = _source(to, settings)
        pushed = asyncio.run(_push(settings, source, text, known, rules))
    policy = pushed.policy
    if as_json:
        print_json(
            {
                "source": source.shown,
                "version": policy.version,
                "hash": policy.hash,
                "revision": pushed.revision,
                "replaced_version": pushed.replaced,
                "unchanged": pushed.unchanged,
                "problems": [problem.to_dict() for problem in pushed.notes],
            }
        )
        return
    screen = result_console()
    before = "" if pushed.replaced is None else f" instead of version {pushed.replaced}"
    what = "was already there" if pushed.unchanged else f"is in {escape(source.shown)}{before}"
    screen.print(f"version {policy.version}, sha256 {policy.hash[:12]}, {what}")
    for problem in pushed.notes:
        screen.print(f"[yellow]note[/] {escape(str(problem))}")


def show(
    source: Annotated[
        str | None, typer.Option("--rules", help="Source to show; default: the source in the settings.")
    ] = None,
    pools: Pools_ = None,
    as_json: Json_ = False,
) -> int:
    """Show which rules are in force, since when, and which were rejected. Exit code 1 if the source has a problem."""
    settings = current_settings()
    known = needed_pools(pools)
    with prefect_server(source or settings.routing.rules, settings):
        state = asyncio.run(rule_state(settings, known, _source(source, settings)))
    if as_json:
        print_json(_as_json(state))
    else:
        _show(state)
    return 1 if state.outage is not None or state.refused is not None else 0


def _source(address: str | None, settings: Settings) -> RuleSource:
    return configured_source(settings) if address is None else open_source(address, settings.rule_source)


async def _push(settings: Settings, source: RuleSource, text: str, pools: Pools, origin: str) -> Pushed:
    try:
        pushed = await push_rules(source, text, pools, origin)
    except BaseException:
        await source.close()
        raise
    await rule_state(settings, pools, source)  # from now on they are the last good ones on this machine
    return pushed


def _as_json(state: RuleState) -> dict[str, Any]:
    age_s = None if state.live is None else round((datetime.now(UTC) - state.live.since).total_seconds(), 1)
    return {**state.model_dump(mode="json"), "age_s": age_s}


def _show(state: RuleState) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("source", escape(state.source))
    if state.live is None:
        table.add_row("in force", "[bold red]none: no valid rules have been received from this source[/]")
    else:
        table.add_row("in force", f"version {state.live.version}, sha256 {state.live.hash[:12]}")
        table.add_row("since", f"{at(state.live.since)} ({_age(state.live.since)})")
        table.add_row("revision", escape(state.live.revision[:20]))
    if state.confirmed_at is not None:
        table.add_row("last answer", f"{at(state.confirmed_at)} ({_age(state.confirmed_at)})")
    if state.outage is not None:
        table.add_row("[yellow]away[/]", f"{escape(state.outage.reason)}, since {at(state.outage.since)}")
    if state.refused is not None:
        since = at(state.refused.since)
        table.add_row("[yellow]refused[/]", f"its content since {since}, revision {state.refused.revision[:20]}")
        for problem in state.refused.problems:
            table.add_row("", escape(problem))
    result_console().print(table)


def _age(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
