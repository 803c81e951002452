"""Every frame belongs to exactly one segment, and everybody who plans gets the same plan."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.media.facts import FrameIndex
from faceflow.media.plan import plan_segments


def steady(frames, keys=(0,), step=40):
    key = np.zeros(frames, np.bool_)
    key[list(keys)] = True
    pts = np.arange(frames, dtype=np.int64) * step
    return FrameIndex(pts, np.full(frames, step, np.int64), key, Fraction(1, 1000), {})


def firsts(segments):
    return [segment.first for segment in segments]


@given(
    steps=st.lists(st.integers(1, 3000), min_size=1, max_size=120),
    keys=st.sets(st.integers(0, 119)),
    cuts=st.lists(st.integers(1, 119), max_size=9),
    segment_s=st.floats(0.2, 10.0),
    context=st.integers(0, 20),
)
def test_segments_cover_every_frame_once(steps, keys, cuts, segment_s, context):
    pts = np.cumsum([0, *steps[:-1]]).astype(np.int64)
    key = np.isin(np.arange(len(steps)), list(keys))
    index = FrameIndex(pts, np.array(steps, np.int64), key, Fraction(1, 1000), {})
    cuts = [cut for cut in cuts if cut < index.frames]
    segments = plan_segments(index, segment_s=segment_s, context_frames=context, cuts=cuts)
    assert [n for s in segments for n in range(s.first, s.first + s.frames)] == list(range(index.frames))
    assert [s.number for s in segments] == list(range(len(segments)))
    for segment in segments:
        end = segment.first + segment.frames
        before = max(cut for cut in {0, *cuts} if cut <= segment.first)
        after = min(cut for cut in {*cuts, index.frames} if cut >= end)
        assert segment.context_before == min(context, segment.first - before)
        assert segment.context_after == min(context, after - end)
    assert segments == plan_segments(index, segment_s=segment_s, context_frames=context, cuts=cuts[::-1])


def test_borders_lie_at_the_wanted_length_where_nothing_is_near():
    assert firsts(plan_segments(steady(100), segment_s=1.0, context_frames=0, cuts=())) == [0, 25, 50, 75]


def test_a_near_key_frame_is_preferred_to_a_cut_and_a_cut_to_nothing():
    index = steady(100, keys=(0, 27, 62))
    segments = plan_segments(index, segment_s=1.0, context_frames=0, cuts=(25, 54, 80))
    assert firsts(segments) == [0, 27, 54, 80]


def test_a_short_rest_is_not_a_segment_of_its_own():
    assert firsts(plan_segments(steady(55), segment_s=1.0, context_frames=0, cuts=())) == [0, 25]


def test_one_frame_is_one_segment():
    (segment,) = plan_segments(steady(1), segment_s=5.0, context_frames=8, cuts=())
    assert (segment.first, segment.frames, segment.context_before, segment.context_after) == (0, 1, 0, 0)


def test_a_gap_longer_than_a_segment_ends_one():
    pts = np.array([0, 40, 9000, 9040], np.int64)
    index = FrameIndex(pts, np.array([40, 8960, 40, 40], np.int64), np.ones(4, np.bool_), Fraction(1, 1000), {})
    assert firsts(plan_segments(index, segment_s=1.0, context_frames=0, cuts=())) == [0, 2]


@pytest.mark.parametrize(("segment_s", "context"), [(0.0, 0), (-1.0, 0), (1.0, -1)])
def test_nonsense_is_refused(segment_s, context):
    with pytest.raises(ValueError, match="positive segment length"):
        plan_segments(steady(10), segment_s=segment_s, context_frames=context, cuts=())
