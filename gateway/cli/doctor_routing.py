"""What `faceflow doctor` says of routing: the rules in force and where they come from, and the sources of signals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from faceflow.errors import FaceflowError
from faceflow.gateway.cli.doctor import Finding, Level
from faceflow.gateway.cli.policy_files import needed_pools
from faceflow.gateway.cli.policy_sources import named_server, warnings_of
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings
from faceflow.infrastructure.sources.rules.state import RuleState
from faceflow.infrastructure.sources.rules.watching import rule_state
from faceflow.infrastructure.sources.signals.configured import signal_board


def routing(settings: Settings) -> Iterator[Finding]:
    """Nothing is said where no list of pools and no rules are set up: one machine needs none."""
    if settings.routing.pools is None:
        if settings.routing.rules is not None:
            yield Finding(
                Level.PROBLEM, "routing", "rules are set, but there is no list of pools", "Set FACEFLOW_ROUTING__POOLS."
            )
        return
    try:
        pools = needed_pools(None)
    except FaceflowError as error:
        yield Finding(Level.PROBLEM, "pools", error.message, error.resolution)
        return
    yield Finding(Level.GOOD, "pools", f"{len(pools.pools)} in {settings.routing.pools}")
    with named_server(settings):
        yield from _rules(settings, pools)
        yield from _signals(settings, pools)


def _rules(settings: Settings, pools: Pools) -> Iterator[Finding]:
    if settings.routing.rules is None:
        yield Finding(Level.NOTE, "routing rules", "none are set", "Set FACEFLOW_ROUTING__RULES (docs/routing.md).")
        return
    try:
        state = asyncio.run(rule_state(settings, pools))
    except FaceflowError as error:
        yield Finding(Level.PROBLEM, "routing rules", error.message, error.resolution)
        return
    yield _in_force(state)
    for warning in warnings_of(state):
        yield Finding(Level.NOTE, "source of rules", warning, "faceflow policy show")


def _in_force(state: RuleState) -> Finding:
    if state.live is None:
        return Finding(
            Level.PROBLEM,
            "routing rules",
            f"no valid rules have been received from {state.source}",
            "faceflow policy push RULES",
        )
    live = state.live
    return Finding(Level.GOOD, "routing rules", f"version {live.version}, sha256 {live.hash[:12]}, from {state.source}")


def _signals(settings: Settings, pools: Pools) -> Iterator[Finding]:
    reports = asyncio.run(signal_board(settings, pools).ask(fresh=True))
    for report in reports:
        if report.failure is None:
            found = f"{len(report.readings)} readings in {report.took_s:.2f} s"
            yield Finding(Level.GOOD, f"signals: {report.name}", found)
        else:
            yield Finding(Level.NOTE, f"signals: {report.name}", report.failure, "faceflow policy signals")
    if not reports:
        yield Finding(Level.NOTE, "signals", "no source is configured, so all signals are missing", "docs/routing.md")
