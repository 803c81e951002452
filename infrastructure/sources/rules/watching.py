"""The rules of the settings' source, for programs of any kind: once, or followed on a thread of their own.

The thread has its own event loop, so a flow that is busy does not keep new rules waiting.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.sources.rules.addresses import configured_source, rules_folder
from faceflow.infrastructure.sources.rules.policy_keeper import PolicyKeeper
from faceflow.infrastructure.sources.rules.rule_source import RuleSource
from faceflow.infrastructure.sources.rules.state import RuleState
from faceflow.infrastructure.sources.source_settings import SettingsWithSources

STOP_S = 5.0
"""Longest wait for a follower to end, seconds."""


@dataclass(frozen=True, slots=True)
class LivePolicy:
    """The policy in force, and what can be said about it."""

    policy: Policy
    state: RuleState


async def rule_state(settings: SettingsWithSources, pools: Pools, source: RuleSource | None = None) -> RuleState:
    """What can be said about the rules now, also where none are in force. Arguments and time as for `current_policy`.

    Raises:
        PolicyError: `policy.rules_missing`, `policy.source_invalid`.
    """
    source = source or configured_source(settings)
    try:
        return await _keeper(settings, pools, source, None).refresh()
    finally:
        await source.close()


async def current_policy(settings: SettingsWithSources, pools: Pools, source: RuleSource | None = None) -> LivePolicy:
    """The policy in force now: the source's, or the last good one where the source is away or holds broken rules.

    Takes at most `rule_source.timeout_s`.

    Args:
        settings: name the source and where the last good rules are kept.
        pools: the list of pools with which rules are judged.
        source: instead of the settings' own.

    Raises:
        PolicyError: `policy.rules_missing`, `policy.source_invalid`.
        PolicySourceError: `policy.no_rules`, where there never was a good version.
    """
    source = source or configured_source(settings)
    try:
        keeper = _keeper(settings, pools, source, None)
        state = await keeper.refresh()
        return LivePolicy(keeper.policy, state)
    finally:
        await source.close()


@contextmanager
def watching(
    settings: SettingsWithSources,
    pools: Pools,
    *,
    source: RuleSource | None = None,
    on_change: Callable[[Policy], None] | None = None,
) -> Iterator[PolicyKeeper]:
    """Follows the source while the block lasts; `keeper.policy` is always the one in force.

    The block begins when the source was asked once, at the latest after `rule_source.timeout_s`; it does not fail
    where the source is away. Arguments as for `current_policy`; `on_change` is called on the following thread.

    Raises:
        PolicyError: `policy.rules_missing`, `policy.source_invalid`.
    """
    source = source or configured_source(settings)
    keeper = _keeper(settings, pools, source, on_change)
    follower = _Follower(keeper, source)
    follower.start()
    try:
        follower.asked.wait(settings.rule_source.timeout_s + 1.0)
        yield keeper
    finally:
        follower.stop()


class _Follower(threading.Thread):
    def __init__(self, keeper: PolicyKeeper, source: RuleSource) -> None:
        super().__init__(name="rules", daemon=True)
        self.asked = threading.Event()
        self._keeper = keeper
        self._source = source
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()  # where Prefect keeps which server is meant

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._follow(), context=self._context)

    def stop(self) -> None:
        self.asked.wait(STOP_S)
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(STOP_S)  # a disk that hangs holds nobody up

    async def _follow(self) -> None:
        try:
            await self._keeper.refresh()
            self._task = asyncio.create_task(self._keeper.follow())
            self.asked.set()
            await asyncio.wait([self._task])
        finally:
            self.asked.set()
            await self._source.close()


def _keeper(
    settings: SettingsWithSources, pools: Pools, source: RuleSource, on_change: Callable[[Policy], None] | None
) -> PolicyKeeper:
    return PolicyKeeper(
        source,
        pools,
        rules_folder(settings),
        timeout_s=settings.rule_source.timeout_s,
        check_s=settings.rule_source.check_s,
        on_change=on_change,
    )
