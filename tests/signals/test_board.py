"""All sources together under one deadline: what fails or is late leaves gaps, never an error."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.infrastructure.routing.decide import decide
from faceflow.infrastructure.routing.snapshot import MISSING, MISSING_MONEY
from faceflow.infrastructure.sources.signals.board import SignalBoard
from faceflow.infrastructure.sources.signals.cache import SignalCache
from faceflow.infrastructure.sources.signals.signal_source import Figure, Reading, SignalError
from tests.events import captured_events
from tests.routing.worlds import canonical, job

POLICY, POOLS = canonical()
HOME = "private-k8s"


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def step(self, seconds):
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Says:
    """A source that says what it is told to; counts questions in a list."""

    name: str
    clock: Clock = field(repr=False)
    value: str = "3"
    figure: Figure = Figure.FREE_GPUS
    pool: str | None = HOME
    ttl_s: float = 5.0
    takes_s: float = field(default=0.0, repr=False)
    fails: list[Exception] = field(default_factory=list, repr=False)
    asked: list[datetime] = field(default_factory=list, repr=False)

    async def gather(self, pools):
        self.asked.append(self.clock())
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise self.fails[0]
        return [
            Reading(
                figure=self.figure,
                pool=self.pool,
                value=Decimal(self.value),
                measured_at=self.clock(),
                source=self.name,
            )
        ]


@pytest.fixture
def clock():
    return Clock()


def snap(board, **more):
    return asyncio.run(board.snapshot(**more))


def test_readings_become_signals_with_age_and_source(clock):
    board = SignalBoard(
        [
            Says("prometheus", clock),
            Says("prefect", clock, "7", Figure.QUEUE_DEPTH),
            Says("prices", clock, "0.21", Figure.SPOT_PRICE_USD, "aws-g4dn-spot"),
            Says("load", clock, "1.5", Figure.PEAK_LOAD, None),
            Says("pauses", clock, "1", Figure.PAUSED, "azure-t4-spot"),
            Says("delays", clock, "40", Figure.START_DELAY_S, "azure-t4-spot"),
            Says("busy", clock, "0.9", Figure.UTILISATION),
        ],
        POOLS,
        clock=clock,
    )
    snap(board)
    clock.step(2)
    snapshot = snap(board, corrections={"mesh/t4": 1.1})
    home = snapshot.pools[HOME]
    assert (home.free_gpus.value, home.free_gpus.age_s, home.free_gpus.source) == (3, 2, "prometheus")
    assert home.queue_depth.value == 7
    assert snapshot.pools["aws-g4dn-spot"].spot_price_usd.value == Decimal("0.21")
    assert (snapshot.peak_load.value, snapshot.corrections) == (1.5, {"mesh/t4": 1.1})
    azure = snapshot.pools["azure-t4-spot"]
    assert (azure.paused, azure.start_delay_s.value, azure.free_gpus) == (True, 40, MISSING)
    assert azure.spot_price_usd == MISSING_MONEY
    assert snapshot.pools.keys() == POOLS.by_name.keys()
    assert snapshot.budget_left_usd is None


def test_one_deadline_for_all(clock):
    slow = [Says(f"slow{number}", clock, takes_s=30) for number in range(5)]
    board = SignalBoard([*slow, Says("quick", clock)], POOLS, deadline_s=0.3, clock=clock)
    begun = time.monotonic()
    with captured_events() as said:
        snapshot = snap(board)
    assert time.monotonic() - begun < 10, "each of the slow ones takes 30 s"
    assert snapshot.pools[HOME].free_gpus.source == "quick"
    failed = [event for event in said if event["event"] == "signals.failed"]
    assert {event["source"] for event in failed} == {one.name for one in slow}
    assert all("0.3 s" in event["reason"] for event in failed)


def test_a_source_that_does_not_let_go_holds_nobody_up(clock):
    class Stubborn(Says):
        async def gather(self, pools):
            while True:
                try:
                    await asyncio.sleep(2)
                except asyncio.CancelledError:
                    pass
                else:
                    return []

    board = SignalBoard([Stubborn("stubborn", clock), Says("quick", clock)], POOLS, deadline_s=0.2, clock=clock)

    async def timed():
        begun = time.monotonic()
        snapshot = await board.snapshot()
        return snapshot, time.monotonic() - begun

    snapshot, took_s = asyncio.run(timed())
    assert took_s < 1.9, "it lets go after 2 s"
    assert snapshot.pools[HOME].free_gpus.value == 3


def test_failures_leave_gaps_and_are_told_once(clock):
    source = Says("prometheus", clock, fails=[SignalError("it cannot be reached")])
    board = SignalBoard([source], POOLS, clock=clock)
    with captured_events() as said:
        assert snap(board).pools[HOME].free_gpus == MISSING
        assert snap(board).pools[HOME].free_gpus == MISSING
        source.fails[0] = ValueError("a bug in the source")
        assert snap(board).pools[HOME].free_gpus == MISSING
        source.fails.clear()
        assert snap(board).pools[HOME].free_gpus.value == 3
    told = [(event["event"], event.get("reason", "")) for event in said if event["event"] != "signals.unexpected"]
    assert told == [
        ("signals.failed", "it cannot be reached"),
        ("signals.failed", "unexpected internal error (ValueError)"),
        ("signals.back", ""),
    ]
    assert len(source.asked) == 4, "a source that said nothing is asked again"


def test_what_a_failing_source_said_before_grows_old(clock):
    source = Says("prometheus", clock)
    board = SignalBoard([source], POOLS, clock=clock)
    snap(board)
    source.fails.append(SignalError("away"))
    clock.step(400)
    signal = snap(board).pools[HOME].free_gpus
    assert (signal.value, signal.age_s) == (3, 400)
    decision = decide(job(), POLICY, snap(board), POOLS)
    assert any("free GPUs of private-k8s is too old" in note for note in decision.notes)


def test_a_part_of_an_answer_counts(clock):
    part = Reading(figure=Figure.FREE_GPUS, pool=HOME, value=Decimal(2), measured_at=clock(), source="half")
    board = SignalBoard([Says("half", clock, fails=[SignalError("one query failed", [part])])], POOLS, clock=clock)
    [report] = asyncio.run(board.ask())
    assert (report.failure, report.readings) == ("one query failed", (part,))
    assert board.snapshot_of([report]).pools[HOME].free_gpus.value == 2


def test_readings_are_used_while_they_are_fresh(clock):
    source = Says("prometheus", clock, ttl_s=5)
    board = SignalBoard([source], POOLS, clock=clock)
    for _ in range(4):
        snap(board)
        clock.step(2)
    assert len(source.asked) == 2
    snap(board, fresh=True)
    assert len(source.asked) == 3


def test_processes_share_readings(clock, tmp_path):
    first, second = Says("prices", clock), Says("prices", clock)
    snap(SignalBoard([first], POOLS, clock=clock, cache=SignalCache(tmp_path)))
    clock.step(3)
    signal = snap(SignalBoard([second], POOLS, clock=clock, cache=SignalCache(tmp_path))).pools[HOME].free_gpus
    assert (signal.value, signal.age_s, second.asked) == (3, 3, [])
    other = Says("prices", clock, value="9")  # another question: other queries, another address
    snap(SignalBoard([other], POOLS, clock=clock, cache=SignalCache(tmp_path)))
    assert len(other.asked) == 1
    (tmp_path / "prices.json").write_text("{ broken")
    third = Says("prices", clock)
    assert snap(SignalBoard([third], POOLS, clock=clock, cache=SignalCache(tmp_path))).pools[HOME].free_gpus.value == 3


def test_a_folder_that_cannot_be_written_does_no_harm(clock, tmp_path):
    (tmp_path / "file").write_text("")
    board = SignalBoard([Says("prices", clock)], POOLS, clock=clock, cache=SignalCache(tmp_path / "file" / "signals"))
    with captured_events() as said:
        assert snap(board, fresh=True).pools[HOME].free_gpus.value == 3
        assert snap(board, fresh=True).pools[HOME].free_gpus.value == 3
    assert [event["event"] for event in said] == ["signals.not_kept"]


def test_the_first_source_counts_unless_only_a_later_one_is_fresh(clock):
    first, second = Says("first", clock, "1", ttl_s=5), Says("second", clock, "2", ttl_s=5)
    board = SignalBoard([first, second], POOLS, deadline_s=1, clock=clock)
    assert snap(board).pools[HOME].free_gpus.source == "first"
    first.fails.append(SignalError("away"))
    clock.step(60)
    signal = snap(board).pools[HOME].free_gpus
    assert (signal.source, signal.age_s) == ("second", 0)


ABSURD = st.sampled_from(["NaN", "sNaN", "Infinity", "-Infinity", "-1", "1E+400", "1000000000000", "0"]) | st.decimals(
    allow_nan=True, allow_infinity=True
).map(str)


@settings(max_examples=200, deadline=None)
@given(value=ABSURD, figure=st.sampled_from(list(Figure)), pool=st.sampled_from([*POOLS.by_name, None]))
def test_absurd_values_are_handed_on_and_the_policy_copes(value, figure, pool):
    clock = Clock()
    board = SignalBoard([Says("odd", clock, value, figure, pool)], POOLS, clock=clock)
    snapshot = snap(board)
    given_, signal = Decimal(value), snapshot.pools[pool].free_gpus if pool and figure is Figure.FREE_GPUS else None
    if signal is not None:
        expected = math.nan if given_.is_nan() else float(given_)
        assert signal.value == expected or (math.isnan(signal.value) and math.isnan(expected))
    decision = decide(job(sensitivity="private"), POLICY, snapshot, POOLS)
    assert {placement.zone for placement in decision.placements} <= {"private", "isolated"}
    assert snapshot.model_validate_json(snapshot.model_dump_json()).now == snapshot.now, "it can be stored"
