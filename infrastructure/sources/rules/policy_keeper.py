"""Holds the last good policy, follows its source, and can say at any moment what is in force and why.

Three things may come from a source, and each leaves a policy in force:

    good rules      they are taken, kept on disk, and told as `rules.live`
    broken rules    the last good ones stay; told once as `rules.refused`, with every mistake at its line
    nothing         the last good ones stay; told once as `rules.source_lost`, and asked again with growing pauses

A process that starts while the source is away, or while broken rules lie in it, begins with what an earlier process
kept. Rules are judged with this process's list of pools each time, also those from the disk.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from faceflow.infrastructure.routing.document import Problem
from faceflow.infrastructure.routing.loading import check_policy
from faceflow.infrastructure.routing.policy import Policy
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.sources.rules.rule_source import PolicySourceError, RuleSource, RuleSourceError, RulesText
from faceflow.infrastructure.sources.rules.state import Kept, KeptFile, LiveRules, Outage, Refusal, RuleState
from faceflow.log import events

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
"""Between two questions to a source that does not answer."""
MOST_PROBLEMS = 20


class PolicyKeeper:
    """The rules of one source, as far as they were in order.

    Args:
        source: where the rules come from.
        pools: the list of pools with which rules are judged.
        folder: where the last good rules are kept (`<state>/rules`).
        timeout_s: longest wait for an answer of the source, seconds.
        check_s: how often a source that is silent is asked whether it still lives, seconds.
        on_change: called with every policy that comes into force, from the thread that follows the source.
    """

    def __init__(
        self,
        source: RuleSource,
        pools: Pools,
        folder: Path,
        *,
        timeout_s: float = 3.0,
        check_s: float = 10.0,
        on_change: Callable[[Policy], None] | None = None,
    ) -> None:
        self._source = source
        self._pools = pools
        self._file = KeptFile(folder, source.shown)
        self._timeout_s = timeout_s
        self._check_s = check_s
        self._on_change = on_change
        self._policy: Policy | None = None
        self._content: bytes | None = None  # what was judged last, good or not
        self._revision = ""
        self._told_lost: str | None = None
        self._text, self._state = self._from_disk()

    @property
    def policy(self) -> Policy:
        """The policy that is in force.

        Raises:
            PolicySourceError: `policy.no_rules`, where there never was a good one.
        """
        if self._policy is None:
            raise PolicySourceError(
                "policy.no_rules",
                f"No usable rules have been received from {self._source.shown}: {self._reason()}.",
                "Correct the rules (`faceflow policy show` lists every mistake), or push other rules with "
                "`faceflow policy push`.",
                source=self._source.shown,
            )
        return self._policy

    @property
    def state(self) -> RuleState:
        """What is live, what was refused and why, whether the source answers, and since when."""
        return self._state

    async def refresh(self) -> RuleState:
        """Asks the source once, for at most `timeout_s`, and takes what is in order. Never fails: see `state`."""
        await self._look()
        return self._state

    async def follow(self) -> None:
        """Follows the source until it is cancelled. A source that goes away is asked again and again."""
        pause_s = FIRST_PAUSE_S
        watch_failed: str | None = None
        while True:
            if not await self._look():
                await asyncio.sleep(pause_s * random.uniform(0.7, 1.3))  # noqa: S311 (not all processes at once)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            try:
                async with asyncio.timeout(self._check_s):
                    await self._source.wait_for_change(self._revision)
            except TimeoutError:
                pass  # nothing was heard: the source is asked, in case the connection is dead or something was missed
            except Exception as error:  # noqa: BLE001 - whatever it is, the source is asked again
                reason = _reason_of(error)
                if reason != watch_failed:
                    watch_failed = reason
                    events().info("rules.watch_failed", source=self._source.shown, reason=reason)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s, watch_failed = FIRST_PAUSE_S, None

    async def _look(self) -> bool:
        """Whether the source answered with a text, good or broken."""
        begun = _now()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._source.load()
        except TimeoutError:
            self._lost("it does not respond in time", begun)
        except Exception as error:  # noqa: BLE001 - a follower that ended would leave old rules in force without a word
            if not isinstance(error, RuleSourceError):
                events().error("rules.unexpected", source=self._source.shown, exc_info=error)
            self._lost(_reason_of(error), begun)
        else:
            self._came(found, begun)
            return True
        return False

    def _came(self, found: RulesText, begun: datetime) -> None:
        if self._state.outage is not None:
            since = self._state.outage.since.isoformat()
            events().info("rules.source_back", source=self._source.shown, lost_since=since)
        self._told_lost = None
        changes: dict[str, object] = {"outage": None, "confirmed_at": begun}
        self._revision = found.revision
        if found.content != self._content:
            self._content = found.content
            policy, problems = self._judge(found)
            if policy is None:
                changes["refused"] = self._refused(found.revision, problems, begun)
            else:
                changes |= {"refused": None, "live": self._taken(policy, found.revision, begun)}
                self._policy, self._text = policy, found.content.decode()
        self._remember(changes, begun)
        if "live" in changes and self._on_change is not None and self._policy is not None:
            try:
                self._on_change(self._policy)
            except Exception as error:  # noqa: BLE001 - as above; the policy itself is in force
                events().error("rules.unexpected", source=self._source.shown, exc_info=error)

    def _judge(self, found: RulesText) -> tuple[Policy | None, tuple[Problem, ...]]:
        if found.problems:
            return None, tuple(Problem(problem) for problem in found.problems)
        try:
            text = found.content.decode()
        except UnicodeDecodeError as error:
            return None, (Problem(f"not UTF-8 text (byte {error.start})"),)
        checked = check_policy(text, self._pools)
        return checked.policy, checked.problems

    def _taken(self, policy: Policy, revision: str, begun: datetime) -> LiveRules:
        before = self._state.live
        if before is not None and before.hash == policy.hash and before.version == policy.version:
            return before.model_copy(update={"revision": revision})
        events().info(
            "rules.live",
            source=self._source.shown,
            version=policy.version,
            hash=policy.hash,
            revision=revision,
            before=None if before is None else before.version,
            version_grew=before is None or policy.version > before.version,
        )
        return LiveRules(version=policy.version, hash=policy.hash, revision=revision, since=begun)

    def _refused(self, revision: str, problems: tuple[Problem, ...], begun: datetime) -> Refusal:
        fatal = tuple(str(problem) for problem in problems if problem.fatal)[:MOST_PROBLEMS]
        before, live = self._state.refused, self._state.live
        events().warning(
            "rules.refused",
            source=self._source.shown,
            revision=revision,
            problems=fatal,
            still_live=None if live is None else live.version,
        )
        if before is not None and (before.revision, before.problems) == (revision, fatal):
            return before
        return Refusal(revision=revision, problems=fatal, since=begun)

    def _lost(self, reason: str, begun: datetime) -> None:
        before, live = self._state.outage, self._state.live
        if self._told_lost != reason:
            self._told_lost = reason
            events().warning(
                "rules.source_lost",
                source=self._source.shown,
                reason=reason,
                still_live=None if live is None else live.version,
            )
        self._remember({"outage": Outage(reason=reason, since=begun if before is None else before.since)}, begun)

    def _remember(self, changes: dict[str, object], begun: datetime) -> None:
        before = self._state
        self._state = before.model_copy(update=changes)
        if self._state.model_copy(update={"confirmed_at": before.confirmed_at}) != before:
            self._file.write(Kept(text=self._text, state=self._state), begun)

    def _from_disk(self) -> tuple[str | None, RuleState]:
        kept = self._file.read()
        if kept.text is None:
            return None, kept.state
        self._policy, problems = self._judge(RulesText(kept.text.encode(), ""))
        if self._policy is None:  # the list of pools is another one by now
            events().warning(
                "rules.kept_refused", source=self._source.shown, problems=[str(problem) for problem in problems]
            )
            return None, kept.state.model_copy(update={"live": None})
        return kept.text, kept.state

    def _reason(self) -> str:
        if self._state.outage is not None:
            return self._state.outage.reason
        if self._state.refused is not None:
            return "; ".join(self._state.refused.problems[:3])
        return "it has not been queried yet"


def _reason_of(error: Exception) -> str:
    if isinstance(error, RuleSourceError):
        return error.reason
    return f"unexpected internal error ({type(error).__name__})"


def _now() -> datetime:
    return datetime.now(UTC)
