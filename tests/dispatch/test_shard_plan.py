"""Segments are divided by share, all of them once, and no shard is too small to be worth a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from faceflow.flows.job.assignment import WorkPlace
from faceflow.flows.job.shard_plan import plan_shards
from faceflow.media.facts import Segment

LEAST_S = 30.0


def segments(*frames: int) -> list[Segment]:
    return [
        Segment(number=number, first=sum(frames[:number]), frames=count, context_before=0, context_after=0)
        for number, count in enumerate(frames)
    ]


def numbers(shards: tuple) -> list[tuple[str, list[int]]]:
    return [(shard.pool, [segment.number for segment in shard.segments]) for shard in shards]


def test_shares_and_runs_divide_the_work() -> None:
    places = [WorkPlace(pool="a", share=0.5, shards=2), WorkPlace(pool="b", share=0.5)]
    assert numbers(plan_shards(segments(*[100] * 8), places, [1.0, 1.0], LEAST_S)) == [
        ("a", [0, 1]), ("a", [2, 3]), ("b", [4, 5, 6, 7]),
    ]  # fmt: skip


def test_a_short_job_stays_in_one_run() -> None:
    places = [WorkPlace(pool="a", share=0.5, shards=8), WorkPlace(pool="b", share=0.5, shards=8)]
    assert numbers(plan_shards(segments(*[100] * 4), places, [0.1, 0.1], LEAST_S)) == [("a", [0, 1, 2, 3])]


def test_nothing_to_do_is_an_empty_share() -> None:
    assert numbers(plan_shards([], [WorkPlace(pool="a"), WorkPlace(pool="b")], [1.0, 1.0], LEAST_S)) == [("a", [])]


@given(
    frames=st.lists(st.integers(1, 2000), max_size=60),
    places=st.lists(st.tuples(st.floats(0.01, 1.0), st.integers(1, 12), st.floats(0.001, 0.5)), min_size=1, max_size=5),
)
def test_every_segment_is_in_one_shard_that_is_worth_its_run(
    frames: list[int], places: list[tuple[float, int, float]]
) -> None:
    given_ = segments(*frames)
    named = [WorkPlace(pool=f"pool-{n}", share=share, shards=runs) for n, (share, runs, _) in enumerate(places)]
    shards = plan_shards(given_, named, [frame_s for *_, frame_s in places], LEAST_S)
    found = [segment for shard in shards for segment in shard.segments]
    assert sorted(found, key=lambda segment: segment.number) == given_
    assert shards[0].pool == "pool-0"
    assert all(shard.work_s >= LEAST_S for shard in shards[1:])
    for place in named:
        assert sum(shard.pool == place.pool for shard in shards) <= place.shards
