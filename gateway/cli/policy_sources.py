"""Rules as the `policy` and `simulate` commands get them: from a file, or from a source with its last good version."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.markup import escape

from faceflow.gateway.cli.screen import console, waiting
from faceflow.infrastructure.machine.server.environment import point_prefect_at
from faceflow.infrastructure.machine.server.inherited import named_server as server_of
from faceflow.infrastructure.machine.server.lease import lease_server, running_server
from faceflow.infrastructure.routing.loading import load_policy
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.infrastructure.sources.policy_files import read_text
from faceflow.infrastructure.sources.rules.addresses import is_file, open_source
from faceflow.infrastructure.sources.rules.rule_source import PolicySourceError, RuleSource, RuleSourceError, RulesText
from faceflow.infrastructure.sources.rules.state import RuleState
from faceflow.infrastructure.sources.rules.watching import current_policy
from faceflow.locations import local_path


def rules_from(address: str | None, pools: Pools) -> Policy:
    """The rules in a file, or those in force from a source; without an address, from the one that the settings name.

    Raises:
        PolicyError: `policy.rules_missing`, `policy.source_invalid`, `policy.invalid`.
        PolicySourceError: `policy.no_rules`.
    """
    if address is not None and is_file(address):
        return load_policy(read_text(local_path(address)), pools, address)
    settings = current_settings()
    with prefect_server(address or settings.routing.rules, settings):
        source = None if address is None else open_source(address, settings.rule_source)
        live = asyncio.run(current_policy(settings, pools, source))
    for warning in warnings_of(live.state):
        console().print(f"[yellow]note[/] {escape(warning)}")
    return live.policy


async def _load(source: RuleSource, timeout_s: float) -> RulesText:
    try:
        async with asyncio.timeout(timeout_s):
            return await source.load()
    except TimeoutError:
        raise RuleSourceError("it did not respond in time") from None
    finally:
        await source.close()


def rules_text(address: str) -> str:
    """The text in a file or a source, whatever is wrong with it.

    Raises:
        PolicyError: `policy.unreadable`, `policy.source_invalid`.
        PolicySourceError: `policy.source_failed`.
    """
    if is_file(address):
        return read_text(local_path(address))
    settings = current_settings()
    with prefect_server(address, settings):
        source = open_source(address, settings.rule_source)
        try:
            found = asyncio.run(_load(source, settings.rule_source.timeout_s))
        except RuleSourceError as error:
            raise PolicySourceError(
                "policy.source_failed",
                f"No rules could be read from {source.shown}: {error.reason}.",
                "Check the address, that the store is running, and its credentials (FACEFLOW_RULE_SOURCE__...).",
                source=source.shown,
            ) from error
    return found.content.decode("utf-8", "replace")


@contextmanager
def named_server(settings: Settings) -> Iterator[None]:
    """Points Prefect at the server that is named or runs already, while the block lasts; starts none."""
    named = server_of(os.environ)
    if named is not None or running_server(settings) is None:
        with TemporaryDirectory() as home:  # looking leaves nothing behind
            point_prefect_at(Path(home), named, quiet=True)
            yield
        return
    with lease_server(settings) as server:
        point_prefect_at(settings.paths.state, server.api_url, quiet=True)
        yield


@contextmanager
def prefect_server(address: str | None, settings: Settings) -> Iterator[None]:
    """Sees to a Prefect server while the block lasts, where the address is that of a Prefect block."""
    if address is None or not address.startswith("block:"):
        yield
        return
    with ExitStack() as stack:
        with waiting("Starting the local Prefect server") as tick:
            server = stack.enter_context(lease_server(settings, tick))
        point_prefect_at(settings.paths.state, server.api_url, quiet=True)
        yield


def warnings_of(state: RuleState) -> list[str]:
    """What somebody who relies on these rules ought to know, in words."""
    found = []
    live = "none" if state.live is None else f"version {state.live.version}"
    if state.outage is not None:
        found.append(f"{state.source}: {state.outage.reason}, since {at(state.outage.since)}; in force: {live}")
    if state.refused is not None:
        problems = "; ".join(state.refused.problems)
        found.append(f"{state.source}: its current content was rejected at {at(state.refused.since)}: {problems}")
    return found


def at(moment: datetime) -> str:
    """A moment as it is written for people."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
