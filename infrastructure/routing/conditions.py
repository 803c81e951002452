"""`when`: whether a rule fits a job at a moment. Yes, no, or cannot be told (None) where a signal is missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

from faceflow.infrastructure.routing.policy import Bounds, Names, Policy, PoolBounds, Rule, TimeOfDay, When
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing.readings import Reading, both, exactly, negate
from faceflow.infrastructure.routing.world import World

Condition = Callable[[World], bool | None]
"""Asks one thing of the world."""
CompiledRules = tuple[tuple[Rule, tuple[Condition, ...]], ...]


_COMPILED: dict[int, tuple[Policy, CompiledRules]] = {}
_KEPT = 8


def compiled_rules(policy: Policy) -> CompiledRules:
    """The rules with their conditions as functions. Kept for the policies that were used last."""
    kept = _COMPILED.get(id(policy))
    if kept is not None and kept[0] is policy:
        return kept[1]
    compiled = tuple((rule, compile_when(rule.when)) for rule in policy.rules)
    while len(_COMPILED) >= _KEPT:
        _COMPILED.pop(next(iter(_COMPILED)), None)
    # The policy is kept with it, so that no other object can get its id meanwhile.
    _COMPILED[id(policy)] = (policy, compiled)
    return compiled


def compile_when(when: When) -> tuple[Condition, ...]:
    """The conditions of a rule as functions: those that look at the job first, those that read signals last."""
    conditions: list[Condition] = []
    if when.sensitivity is not None:
        allowed = frozenset(when.sensitivity)
        conditions.append(lambda world: world.job.sensitivity in allowed)
    if when.priority is not None:
        wanted = frozenset(when.priority)
        conditions.append(lambda world: world.job.priority in wanted)
    if when.project is not None:
        projects = when.project
        conditions.append(lambda world: _matches(world.job.project, projects))
    for label, values in (when.labels or {}).items():
        conditions.append(partial(_label, label, values))
    if when.deadline_slack_s is not None:
        conditions.append(partial(_slack, when.deadline_slack_s))
    if when.time_of_day is not None:
        conditions.append(partial(_hours, when.time_of_day, ZoneInfo(when.time_of_day.timezone)))
    figures: tuple[tuple[Bounds | None, Callable[[World], Reading]], ...] = (
        (when.duration_s, World.duration_s),
        (when.height_px, World.height_px),
        (when.faces, World.faces),
        (when.peak_load, World.peak_load),
        (when.budget_left_usd, lambda world: world.budget_left().as_numbers()),
    )
    conditions += [partial(_figure, bounds, ask) for bounds, ask in figures if bounds is not None]
    pool_figures: tuple[tuple[PoolBounds | None, Callable[[World, Pool], Reading]], ...] = (
        (when.free_gpus, World.free_gpus),
        (when.queue_depth, World.queue_depth),
        (when.spot_price_usd, lambda world, pool: world.price(pool).as_numbers()),
    )
    conditions += [partial(_pool_figure, bounds, ask) for bounds, ask in pool_figures if bounds is not None]
    return tuple(conditions)


def fits(conditions: tuple[Condition, ...], world: World) -> bool | None:
    """Whether all hold; stops at the first that does not."""
    answer: bool | None = True
    for condition in conditions:
        holds = condition(world)
        if holds is False:
            return False
        if holds is None:
            answer = None
    return answer


def inside(reading: Reading, bounds: Bounds) -> bool | None:
    """Whether a reading lies within bounds."""
    value = reading.least
    if value == reading.most:  # the usual case, without the three answers
        return (
            (bounds.below is None or value < bounds.below)
            and (bounds.at_most is None or value <= bounds.at_most)
            and (bounds.above is None or value > bounds.above)
            and (bounds.at_least is None or value >= bounds.at_least)
        )
    answer: bool | None = True
    if bounds.below is not None:
        answer = both(answer, reading.below(bounds.below))
    if bounds.at_most is not None:
        answer = both(answer, negate(reading.above(bounds.at_most)))
    if bounds.above is not None:
        answer = both(answer, reading.above(bounds.above))
    if bounds.at_least is not None:
        answer = both(answer, negate(reading.below(bounds.at_least)))
    return answer


@lru_cache(maxsize=4096)
def _matches(text: str, patterns: Names) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _label(label: str, values: Names, world: World) -> bool:
    carried = world.job.labels.get(label)
    return carried is not None and _matches(carried, values)


def _slack(bounds: Bounds, world: World) -> bool | None:
    slack_s = world.slack_s()
    return False if slack_s is None else inside(exactly(slack_s), bounds)


def _hours(hours: TimeOfDay, zone: ZoneInfo, world: World) -> bool:
    local = world.snapshot.now.astimezone(zone)
    now = time(local.hour, local.minute, local.second, local.microsecond)
    if hours.from_ <= hours.to:
        return hours.from_ <= now < hours.to
    return now >= hours.from_ or now < hours.to


def _figure(bounds: Bounds, ask: Callable[[World], Reading], world: World) -> bool | None:
    return inside(ask(world), bounds)


def _pool_figure(bounds: PoolBounds, ask: Callable[[World, Pool], Reading], world: World) -> bool | None:
    pool = world.pools.by_name.get(bounds.pool)
    # A pool that is not in the list says nothing about its figures: neither yes nor no.
    return None if pool is None else inside(ask(world, pool), bounds)
