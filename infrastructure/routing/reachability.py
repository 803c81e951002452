"""Finds what a rules file says to no effect: rules that can never match, pools that do not exist, walls in the way.

A rule is dead when its own conditions contradict each other, or when, for every sensitivity and priority that it
speaks of, an earlier rule takes all of its jobs. The second test compares condition by condition, so it finds every
case in which one earlier rule (or several that differ in sensitivity and priority only) is at least as wide; it never
calls a living rule dead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product

from faceflow.infrastructure.routing.document import FieldPath
from faceflow.infrastructure.routing.policy import Bounds, Place, Policy, PoolBounds, TimeOfDay, When
from faceflow.infrastructure.routing.pools import Pools
from faceflow.job import Priority, Sensitivity
from faceflow.zones import ALLOWED_ZONES

Finding = tuple[str, FieldPath]
"""What is wrong, and where."""

_RANGES = ("deadline_slack_s", "duration_s", "height_px", "faces", "peak_load", "budget_left_usd")
_POOL_RANGES = ("free_gpus", "queue_depth", "spot_price_usd")
_MINUTES = 24 * 60


def unknown_pools(policy: Policy, pools: Pools) -> Iterator[Finding]:
    """Every place where a rule names a pool that is not in the list."""
    for path, place, when in _parts(policy):
        for way in ("lock", "prefer", "fallback"):
            for index, name in enumerate(getattr(place, way) or ()):
                if name not in pools.by_name:
                    yield _no_pool(name, pools), (*path, "place", way, index)
        for index, share in enumerate(place.parallel or ()):
            if share.pool not in pools.by_name:
                yield _no_pool(share.pool, pools), (*path, "place", "parallel", index, "pool")
        for condition in _POOL_RANGES:
            bounds = getattr(when, condition)
            if bounds is not None and bounds.pool not in pools.by_name:
                yield _no_pool(bounds.pool, pools), (*path, "when", condition, "pool")


def placing_nothing(policy: Policy, pools: Pools) -> Iterator[Finding]:
    """Rules that speak of a sensitivity whose media may enter none of the pools that they name."""
    for path, place, when in _parts(policy):
        zones = {pools.by_name[name].zone for name in place.pool_names if name in pools.by_name}
        if not zones:
            continue
        shut_out = [one for one in when.sensitivity or Sensitivity if not zones & ALLOWED_ZONES[one]]
        if shut_out and (when.sensitivity is not None or len(shut_out) == len(Sensitivity)):
            who = " and ".join(shut_out)
            yield f"{who} media may enter none of these pools: such jobs will be held", (*path, "place")


def never_matching(policy: Policy) -> Iterator[Finding]:
    """Rules that no job can ever reach."""
    for index, rule in enumerate(policy.rules):
        path: FieldPath = ("rules", index)
        contradiction = _contradiction(rule.when)
        if contradiction is not None:
            yield (
                f"rule {rule.name!r} can never match: nothing is {contradiction[0]}",
                (*path, "when", *contradiction[1]),
            )
            continue
        takers = _takers(policy, index)
        if takers:
            names = ", ".join(repr(policy.rules[taker].name) for taker in takers)
            before = f"rule {names} takes" if len(takers) == 1 else f"rules {names} together take"
            yield f"rule {rule.name!r} can never match: the earlier {before} all of its jobs", path


def _parts(policy: Policy) -> Iterator[tuple[FieldPath, Place, When]]:
    for index, rule in enumerate(policy.rules):
        yield ("rules", index), rule.place, rule.when
    if policy.default is not None:
        yield ("default",), policy.default, When()


def _no_pool(name: str, pools: Pools) -> str:
    return f"there is no pool {name!r}; known: {', '.join(pools.by_name)}"


def _takers(policy: Policy, index: int) -> list[int]:
    """The earlier rules that together take every job of a rule; empty where some job reaches it."""
    later = policy.rules[index].when
    wider = [taker for taker in range(index) if _implies(later, policy.rules[taker].when)]
    used = set()
    for sensitivity, priority in product(later.sensitivity or Sensitivity, later.priority or Priority):
        for taker in wider:
            when = policy.rules[taker].when
            if sensitivity in (when.sensitivity or Sensitivity) and priority in (when.priority or Priority):
                used.add(taker)
                break
        else:
            return []
    return sorted(used)


def _contradiction(when: When) -> tuple[str, FieldPath] | None:
    for name in (*_RANGES, *_POOL_RANGES):
        bounds = getattr(when, name)
        if bounds is None:
            continue
        floor = -math.inf if name == "deadline_slack_s" else 0.0
        low, high = _ends(bounds)
        if low > high or high < (floor, 0):
            said = ", ".join(f"{side} {value:g}" for side, value in bounds if isinstance(value, int | float))
            return f"{said} here", (name,)
    if when.time_of_day is not None and when.time_of_day.from_ == when.time_of_day.to:
        return "between a time and itself", ("time_of_day",)
    return None


def _ends(bounds: Bounds) -> tuple[tuple[float, int], tuple[float, int]]:
    """Lowest and highest number that fits; the second part is 1 just above a number, -1 just below it."""
    lows = [(bounds.at_least, 0), (bounds.above, 1)]
    highs = [(bounds.at_most, 0), (bounds.below, -1)]
    low = max([(value, side) for value, side in lows if value is not None], default=(-math.inf, 0))
    high = min([(value, side) for value, side in highs if value is not None], default=(math.inf, 0))
    return low, high


def _implies(narrow: When, wide: When) -> bool:
    """Whether every job that fits `narrow` fits `wide`, sensitivity and priority apart."""
    for name in (*_RANGES, *_POOL_RANGES):
        if not _range_implies(getattr(narrow, name), getattr(wide, name)):
            return False
    if wide.project is not None and not _names_imply(narrow.project, wide.project):
        return False
    for label, values in (wide.labels or {}).items():
        if not _names_imply((narrow.labels or {}).get(label), values):
            return False
    return _hours_imply(narrow.time_of_day, wide.time_of_day)


def _range_implies(narrow: Bounds | None, wide: Bounds | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    if isinstance(narrow, PoolBounds) and isinstance(wide, PoolBounds) and narrow.pool != wide.pool:
        return False
    (low, high), (wide_low, wide_high) = _ends(narrow), _ends(wide)
    return wide_low <= low and high <= wide_high


def _names_imply(narrow: tuple[str, ...] | None, wide: tuple[str, ...]) -> bool:
    if narrow is None:
        return False
    special = set("*?[")
    return all(
        name in wide or (not special & set(name) and any(fnmatchcase(name, pattern) for pattern in wide))
        for name in narrow
    )


def _hours_imply(narrow: TimeOfDay | None, wide: TimeOfDay | None) -> bool:
    if wide is None:
        return True
    return narrow is not None and narrow.timezone == wide.timezone and _minutes(narrow) <= _minutes(wide)


def _minutes(hours: TimeOfDay) -> set[int]:
    begin = hours.from_.hour * 60 + hours.from_.minute
    length = (hours.to.hour * 60 + hours.to.minute - begin) % _MINUTES
    return {(begin + minute) % _MINUTES for minute in range(length)}
