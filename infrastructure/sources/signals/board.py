"""Asks all sources together under one deadline, keeps what they said, and makes the snapshot that `decide` reads.

A source is asked again when its readings are older than its `ttl_s`. One that fails or is late leaves what it said
before, with its true age, or a gap; either way the policy sees exactly how old or how missing a signal is, and nothing
is raised. A failure is reported once, and once more when it is over.

Where several sources measure the same, the first in the list counts, unless only a later one said it freshly.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.routing.snapshot import (
    MISSING,
    MISSING_MONEY,
    MoneySignal,
    PoolSignals,
    Signal,
    Snapshot,
)
from faceflow.infrastructure.sources.signals.cache import Said, SignalCache
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError, SignalSource
from faceflow.log import events

CANCEL_S = 0.2
"""How long a late source may take to let go, seconds."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How a source fared when it was asked last.

    Attributes:
        name: of the source.
        asked_at: when its readings were asked for; None where it never gave any.
        took_s: seconds until it answered; 0 where kept readings were used.
        failure: why it gave none, or not all; None where all is well.
        readings: what it says, freshly or from before.
    """

    name: str
    asked_at: datetime | None
    took_s: float
    failure: str | None
    readings: tuple[Reading, ...]


class SignalBoard:
    """The sources of one process.

    Args:
        sources: whom to ask; where several measure the same, the first counts.
        pools: what is asked about.
        deadline_s: the longest that one snapshot may take, seconds.
        cache: where readings are shared with other processes; None keeps them in this one.
        clock: the present moment, with UTC offset.
    """

    def __init__(
        self,
        sources: Sequence[SignalSource],
        pools: Pools,
        *,
        deadline_s: float = 3.0,
        cache: SignalCache | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sources = tuple(sources)
        self._pools = pools
        self._deadline_s = deadline_s
        self._cache = cache
        self._clock = clock
        self._said: dict[str, Said] = {}
        self._failures: dict[str, str] = {}

    async def snapshot(
        self,
        *,
        budget_left_usd: MoneySignal | None = None,
        corrections: Mapping[str, float] | None = None,
        fresh: bool = False,
    ) -> Snapshot:
        """The moment, with every signal that is there. Never fails, and takes little longer than the deadline at most.

        Args:
            budget_left_usd: what the project may still spend, from the ledger of budgets; None: it has no budget.
            corrections: seconds taken over seconds estimated, by `engine/gpu`, from finished jobs.
            fresh: ask every source, whatever is kept.
        """
        reports = await self.ask(fresh=fresh)
        return self.snapshot_of(reports, budget_left_usd=budget_left_usd, corrections=corrections)

    def snapshot_of(
        self,
        reports: Sequence[SourceReport],
        *,
        budget_left_usd: MoneySignal | None = None,
        corrections: Mapping[str, float] | None = None,
    ) -> Snapshot:
        """The moment as these reports have it. Arguments as for `snapshot`."""
        now = self._clock()
        chosen = self._chosen(reports, now)
        return Snapshot(
            now=now,
            pools={pool.name: _of_pool(pool.name, chosen, now) for pool in self._pools.pools},
            peak_load=_signal(chosen.get((None, Figure.PEAK_LOAD)), now),
            budget_left_usd=budget_left_usd,
            corrections=dict(corrections or {}),
        )

    async def ask(self, *, fresh: bool = False) -> list[SourceReport]:
        """How every source fares, asking those whose readings are not fresh any more."""
        now = self._clock()
        kept = {source.name: self._kept(source) for source in self._sources}
        due = [source for source in self._sources if fresh or not _is_fresh(kept[source.name], source, now)]
        tasks = {source.name: asyncio.create_task(self._gather(source), name=source.name) for source in due}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=self._deadline_s)
            await _let_go([task for task in tasks.values() if not task.done()])
        return [self._report(source, kept[source.name], tasks.get(source.name)) for source in self._sources]

    async def _gather(self, source: SignalSource) -> tuple[Said, float, str | None]:
        begun, asked_at = time.monotonic(), self._clock()
        failure = None
        try:
            readings = tuple(await source.gather(self._pools))
        except SignalError as error:
            failure, readings = error.reason, error.readings
        except Exception as error:  # noqa: BLE001 - no fault of a source may keep a job from being decided
            events().error("signals.unexpected", source=source.name, exc_info=error)
            failure, readings = f"unexpected internal error ({type(error).__name__})", ()
        said = Said(asked_at=asked_at, question=self._question(source), readings=readings)
        return said, time.monotonic() - begun, failure

    def _report(
        self, source: SignalSource, kept: Said | None, task: asyncio.Task[tuple[Said, float, str | None]] | None
    ) -> SourceReport:
        name, took_s, failure = source.name, 0.0, None
        if task is not None:
            if task.done() and not task.cancelled():
                said, took_s, failure = task.result()
            else:
                said, took_s = None, self._deadline_s
                failure = f"it did not respond within {self._deadline_s:g} s"
            if said is not None and (said.readings or failure is None):
                kept = self._said[name] = said
                if self._cache is not None and failure is None:
                    self._cache.write(name, said)
            self._tell(name, failure)
        return SourceReport(
            name=name,
            asked_at=None if kept is None else kept.asked_at,
            took_s=took_s,
            failure=failure,
            readings=() if kept is None else kept.readings,
        )

    def _tell(self, name: str, failure: str | None) -> None:
        before = self._failures.pop(name, None)
        if failure is not None:
            self._failures[name] = failure
            if failure != before:
                events().warning("signals.failed", source=name, reason=failure)
        elif before is not None:
            events().info("signals.back", source=name)

    def _kept(self, source: SignalSource) -> Said | None:
        ours = self._said.get(source.name)
        theirs = None if self._cache is None else self._cache.read(source.name, self._question(source))
        if ours is None or (theirs is not None and theirs.asked_at > ours.asked_at):
            return theirs
        return ours

    def _question(self, source: SignalSource) -> str:
        text = f"{source!r} {self._pools.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _chosen(self, reports: Sequence[SourceReport], now: datetime) -> dict[tuple[str | None, Figure], Reading]:
        ttl_s = {source.name: source.ttl_s for source in self._sources}
        chosen: dict[tuple[str | None, Figure], Reading] = {}
        old: dict[tuple[str | None, Figure], Reading] = {}
        for report in reports:
            fresh = report.asked_at is not None and (
                (now - report.asked_at).total_seconds() <= ttl_s[report.name] + self._deadline_s
            )
            for reading in report.readings:
                (chosen if fresh else old).setdefault((reading.pool, reading.figure), reading)
        return {**old, **chosen}


def _is_fresh(said: Said | None, source: SignalSource, now: datetime) -> bool:
    return said is not None and 0 <= (now - said.asked_at).total_seconds() < source.ttl_s


async def _let_go(late: list[asyncio.Task[tuple[Said, float, str | None]]]) -> None:
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=CANCEL_S)


def _of_pool(name: str, chosen: Mapping[tuple[str | None, Figure], Reading], now: datetime) -> PoolSignals:
    delay = chosen.get((name, Figure.START_DELAY_S))
    paused = chosen.get((name, Figure.PAUSED))
    return PoolSignals(
        free_gpus=_signal(chosen.get((name, Figure.FREE_GPUS)), now),
        queue_depth=_signal(chosen.get((name, Figure.QUEUE_DEPTH)), now),
        spot_price_usd=_money(chosen.get((name, Figure.SPOT_PRICE_USD)), now),
        start_delay_s=None if delay is None else _signal(delay, now),
        paused=paused is not None and paused.value == 1,
    )


def _signal(reading: Reading | None, now: datetime) -> Signal:
    if reading is None:
        return MISSING
    return Signal(value=float(reading.value), age_s=_age_s(reading, now), source=reading.source)


def _money(reading: Reading | None, now: datetime) -> MoneySignal:
    if reading is None:
        return MISSING_MONEY
    return MoneySignal(value=reading.value, age_s=_age_s(reading, now), source=reading.source)


def _age_s(reading: Reading, now: datetime) -> float:
    return (now - reading.measured_at).total_seconds()
