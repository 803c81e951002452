"""Work that arrived lately, from the decisions that were kept; and the peak load that it makes."""

import asyncio
from datetime import timedelta

import pytest

from faceflow.infrastructure.books.records.decisions import arrived_reference_s, keep_decision
from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.gpu_seconds import reference_seconds
from faceflow.infrastructure.sources.signals.arriving_work_source import ArrivingWorkSource
from faceflow.infrastructure.sources.signals.board import SignalBoard
from tests.routing.worlds import NOW, canonical, job, snapshot

POLICY, POOLS = canonical()


def arrive(database, minutes_ago, **facts):
    one, world = job(**facts), snapshot(now=NOW - timedelta(minutes=minutes_ago))
    keep_decision(database, one, world, decide(one, POLICY, world, POOLS))
    return reference_seconds(one) or 0.0


def test_only_new_work_of_the_window_counts(database):
    since = NOW - timedelta(minutes=10)
    assert arrived_reference_s(database, since) == 0
    arrive(database, 30, id="long ago")
    arrive(database, 12, id="held")
    arrive(database, 2, id="held")  # looked at again
    expected = arrive(database, 5, id="one")
    arrive(database, 4, id="one", attempt=2)
    expected += arrive(database, 3, id="batch", count=50)
    expected += arrive(database, 1, id="private", sensitivity="private")
    arrive(database, 1, id="of unknown length", frames=None)
    assert arrived_reference_s(database, since) == pytest.approx(expected)


def test_the_peak_load_of_a_campaign(database):
    for number in range(12):
        arrive(database, number / 2, id=f"batch-{number}", count=50)

    async def arrivals(window_s):
        return arrived_reference_s(database, NOW - timedelta(seconds=window_s))

    source = ArrivingWorkSource(arrivals, window_s=600)
    found = asyncio.run(SignalBoard([source], POOLS).snapshot())
    each_s = reference_seconds(job())
    assert found.peak_load.value == pytest.approx(600 * each_s / (14 * 600))
