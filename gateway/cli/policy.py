"""`faceflow policy`: reads, tries and compares routing rules, from files or from the sources that hold them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.gateway.cli import policy_store
from faceflow.gateway.cli.policy_files import needed_pools, pools_from, records_from
from faceflow.gateway.cli.policy_signals import live_snapshot, signals
from faceflow.gateway.cli.policy_sources import rules_from, rules_text
from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.routing.comparing import Replayed, replay, rule_differences, where
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.loading import check_policy, invalid, load_model
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.schema import policy_schema
from faceflow.infrastructure.routing.snapshot import JobFacts, Snapshot
from faceflow.infrastructure.routing.wording import explain as in_words
from faceflow.infrastructure.settings import current_settings
from faceflow.infrastructure.sources.policy_files import read_text

app = typer.Typer(help="Check, push, explain, compare and replay routing rules.", no_args_is_help=True)

Pools_ = Annotated[Path | None, typer.Option("--pools", help="List of pools (YAML or JSON).")]
Rules_ = Annotated[
    str | None, typer.Option("--rules", help="Rules file or source; default: the source in the settings.")
]
Json_ = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
SHOWN = 20


app.command("push")(policy_store.push)
app.command("show")(policy_store.show)
app.command("signals")(signals)


@app.command()
def check(
    rules: Annotated[str, typer.Argument(help="Rules file or source.")], pools: Pools_ = None, as_json: Json_ = False
) -> int:
    """List every mistake in a rules file, with line and field. Exit code 2 if there is one."""
    known = pools_from(pools)
    checked = check_policy(rules_text(rules), known)
    if checked.policy is None:
        raise invalid(rules, checked.problems)
    policy = checked.policy
    if as_json:
        print_json(
            {
                "version": policy.version,
                "hash": policy.hash,
                "rules": len(policy.rules),
                "pools_checked": known is not None,
                "problems": [problem.to_dict() for problem in checked.problems],
            }
        )
    else:
        screen = result_console()
        rules_there = f"{len(policy.rules)} rule{'s' if len(policy.rules) != 1 else ''}"
        screen.print(f"version {policy.version}, sha256 {policy.hash[:12]}, {rules_there}")
        for problem in checked.problems:
            screen.print(f"[yellow]note[/] {escape(str(problem))}")
        if known is None:
            screen.print("[yellow]note[/] the names of pools were not checked; use --pools to check them")
    return 2 if checked.problems else 0


@app.command()
def explain(
    job: Annotated[
        Path, typer.Argument(help="Facts about the job (YAML or JSON): id, sensitivity, frames, deadline, ...")
    ],
    rules: Rules_ = None,
    pools: Pools_ = None,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Signals (YAML or JSON); without this, all signals are missing.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Use the current signals.")] = False,
    as_json: Json_ = False,
) -> None:
    """Show where a job would run, at what price, by which rule, and why nowhere else."""
    from faceflow.vision.registry import require_names

    known = needed_pools(pools)
    policy = rules_from(rules, known)
    facts = load_model(JobFacts, read_text(job), str(job))
    require_names(facts.engine, facts.restorer, current_settings())
    world = _snapshot(snapshot, live, known, facts)
    decision = decide(facts, policy, world, known)
    if as_json:
        print_json({**decision.model_dump(mode="json"), "explanation": in_words(decision, asked_only=True)})
    else:
        result_console().print(escape(in_words(decision, asked_only=True)))


def _snapshot(path: Path | None, live: bool, pools: Pools, facts: JobFacts) -> Snapshot:
    if live and path is not None:
        raise PolicyError("policy.two_snapshots", "--snapshot and --live cannot be combined.", "Use one of them.")
    if live:
        return live_snapshot(pools, facts)
    return Snapshot(now=datetime.now(UTC)) if path is None else load_model(Snapshot, read_text(path), str(path))


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="The old rules: a file or source.")],
    new: Annotated[str, typer.Argument(help="The new rules: a file or source.")],
    pools: Pools_ = None,
    records: Annotated[
        Path | None,
        typer.Option("--records", help="Recorded decisions (JSON Lines), to show which jobs would run elsewhere."),
    ] = None,
    as_json: Json_ = False,
) -> None:
    """Show the differences between two rules files."""
    known = needed_pools(pools)
    before, after = rules_from(old, known), rules_from(new, known)
    differences = rule_differences(before, after)
    kept = [] if records is None else list(records_from(records))
    was = [
        record.model_copy(update={"decision": result.now})
        for record, result in zip(kept, replay(kept, before, known), strict=True)
    ]
    changed = list(replay(was, after, known))
    if as_json:
        print_json({"old": before.hash, "new": after.hash, "differences": differences, **_summary(changed)})
        return
    screen = result_console()
    screen.print(f"version {before.version} ({before.hash[:12]}) to version {after.version} ({after.hash[:12]})")
    for difference in differences or ["both rule sets decide alike"]:
        screen.print(escape(difference))
    if records is not None:
        _show(changed)


@app.command("replay")
def replay_(
    records: Annotated[Path, typer.Argument(help="Recorded decisions: JSON Lines with job, snapshot and decision.")],
    rules: Rules_ = None,
    pools: Pools_ = None,
    as_json: Json_ = False,
) -> None:
    """Decide recorded jobs again, with their own signals, and show what these rules would have done differently."""
    known = needed_pools(pools)
    policy = rules_from(rules, known)
    results = list(replay(records_from(records), policy, known))
    if as_json:
        print_json({"version": policy.version, "hash": policy.hash, **_summary(results)})
    else:
        _show(results)


@app.command()
def schema() -> None:
    """Print the JSON schema of rules files, for editors and configuration centres."""
    typer.echo(json.dumps(policy_schema(), indent=2))


def _summary(results: list[Replayed]) -> dict[str, Any]:
    moved = [result for result in results if not result.same]
    costs = [result.more_usd for result in results]
    return {
        "jobs": len(results),
        "elsewhere": len(moved),
        "more_usd": str(sum(cost for cost in costs if cost is not None)),
        "cost_not_comparable": sum(cost is None for cost in costs),
        "changes": [
            {
                "job": result.now.job_id,
                "before": where(result.before) if result.before else None,
                "now": where(result.now),
                "rule": result.now.rule,
                "more_usd": None if result.more_usd is None else str(result.more_usd),
            }
            for result in moved
        ],
    }


def _show(results: list[Replayed]) -> None:
    summary = _summary(results)
    screen = result_console()
    screen.print(
        f"{summary['jobs']} jobs, {summary['elsewhere']} of which would run elsewhere; {summary['more_usd']} USD "
        f"more in total ({summary['cost_not_comparable']} not comparable)"
    )
    if not summary["changes"]:
        return
    table = Table("job", "before", "now", "by rule", "USD more", box=None, padding=(0, 2, 0, 0))
    for change in summary["changes"][:SHOWN]:
        table.add_row(*(escape(str(value)) if value is not None else "not known" for value in change.values()))
    screen.print(table)
    if len(summary["changes"]) > SHOWN:
        screen.print(f"... and {len(summary['changes']) - SHOWN} more; use --json to see all")
