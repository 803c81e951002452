"""Short gaps in the detections are filled, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.vision.gaps import MOST_FRAMES, GapFiller
from faceflow.vision.shapes import Face


def face(x, y=100.0, side=60.0, score=0.9):
    box = np.array([x, y, x + side, y + side], np.float32)
    points = np.array([[x + 20, y + 20], [x + 40, y + 20], [x + 30, y + 30], [x + 22, y + 45], [x + 38, y + 45]])
    return Face(box, points.astype(np.float32), score, np.full((468, 3), x, np.float32))


def filled(frames, cuts=(), first=0):
    filler, found = GapFiller(), []
    for number, faces in enumerate(frames, first):
        found += filler.push(number, faces, number in cuts)
    found += filler.finish()
    assert [number for number, _, _ in found] == list(range(first, first + len(frames)))
    assert [cut for _, _, cut in found] == [number in cuts for number in range(first, first + len(frames))]
    return [faces for _, faces, _ in found]


def moving(count, missing=(), step=2.0):
    return [[] if number in missing else [face(100 + step * number)] for number in range(count)]


@pytest.mark.parametrize("length", range(1, MOST_FRAMES + 1))
@pytest.mark.parametrize("first", [0, 7])
def test_a_short_gap_is_filled_on_the_line(length, first):
    missing = range(5, 5 + length)
    whole = filled(moving(14, missing), first=first)
    for number, faces in enumerate(whole):
        (one,) = faces
        assert one.box == pytest.approx(face(100 + 2 * number).box, abs=1e-3)
        assert one.points == pytest.approx(face(100 + 2 * number).points, abs=1e-3)
        assert one.landmarks[0, 0] == pytest.approx(100 + 2 * number, abs=1e-3)
        assert (one.sight, one.unlike, one.hidden) == (None, None, None)


def test_nothing_else_is_filled():
    assert [len(faces) for faces in filled(moving(14, range(5, 6 + MOST_FRAMES)))].count(0) == MOST_FRAMES + 1
    assert [len(faces) for faces in filled(moving(14, (5, 6)), cuts={6})] == [1] * 5 + [0, 0] + [1] * 7
    assert [len(faces) for faces in filled(moving(14, (5, 6)), cuts={7})] == [1] * 5 + [0, 0] + [1] * 7
    assert [len(faces) for faces in filled(moving(14, (5,)), cuts={5})] == [1] * 5 + [0] + [1] * 8
    leaving = moving(6) + [[]] * 4
    assert [len(faces) for faces in filled(leaving)] == [1] * 6 + [0] * 4
    elsewhere = moving(5) + [[], []] + [[face(400)]] * 4
    assert [len(faces) for faces in filled(elsewhere)] == [1] * 5 + [0, 0] + [1] * 4


def test_a_gap_beside_another_face_is_filled_and_the_other_stays_who_it_is():
    other = face(300)
    frames = [[*faces, other] for faces in moving(12, (4, 5))]
    for number, faces in enumerate(filled(frames)):
        assert len(faces) == 2
        assert sum(one is other for one in faces) == 1
        assert any(one.box == pytest.approx(face(100 + 2 * number).box, abs=1e-3) for one in faces)


def test_a_face_that_was_found_at_the_place_is_left_alone():
    there = [[face(100)], [face(104)], [face(108)]]
    assert all(mine[0] is theirs[0] for mine, theirs in zip(filled(there), there, strict=True))
    assert [len(faces) for faces in filled(there)] == [1, 1, 1]


@given(
    present=st.lists(st.booleans(), min_size=1, max_size=40),
    begin=st.integers(0, 20),
    length=st.integers(1, 20),
)
def test_a_frame_depends_on_no_frame_farther_away_than_the_longest_gap(present, begin, length):
    frames = [[face(100 + number)] if there else [] for number, there in enumerate(present)]
    whole = filled(frames)
    first = min(begin, len(frames) - 1)
    last = min(len(frames), first + length)
    low, high = max(0, first - MOST_FRAMES), min(len(frames), last + MOST_FRAMES)
    part = filled(frames[low:high], first=low)[first - low : last - low]
    for faces, others in zip(part, whole[first:last], strict=True):
        assert [one.box.tolist() for one in faces] == [one.box.tolist() for one in others]
