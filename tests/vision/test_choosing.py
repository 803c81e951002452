"""Selections settled for tracks: by order, by number, by gender and age; one answer a shot, whoever passes by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.job import FaceOrder, Gender, Selection, SwapOptions
from faceflow.vision.casting import Casting
from faceflow.vision.choosing import STEPS_IN_AFTER, first_tracks, fitting_tracks
from faceflow.vision.scan import Sighting
from faceflow.vision.shapes import Face, Traits
from faceflow.vision.tracks import TrackTable
from faceflow.vision.traits import TraitsCollector
from tests.vision.test_tracks import HEIGHT_PX, at, box, job


def standing(*tracks, people=None, **more) -> TrackTable:
    """`tracks`: x, y, side, first frame, last frame; seen every fifth frame at 25 frames a second, one shot."""
    rows = [(number, frame, *one[:3]) for number, one in enumerate(tracks) for frame in range(one[3], one[4] + 1, 5)]
    return TrackTable(
        shots=np.zeros(1, np.int64),
        person=np.array(people or range(len(tracks)), np.int32),
        size_s=np.array([side * (last - first + 1) / 25 for _, _, side, first, last in tracks], np.float32),
        track=np.array([row[0] for row in rows], np.int32),
        frame=np.array([row[1] for row in rows], np.int64),
        box=np.array([box(*row[2:]) for row in rows], np.float32),
        reach=25,
        **more,
    )


THREE = standing(
    (0.9, 0.5, 0.2, 0, 100), (0.3, 0.6, 0.3, 0, 100), (1.4, 0.3, 0.1, 0, 100), quality=np.array([1, 2, 3], np.float32)
)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (FaceOrder.LEFT_RIGHT, [1, 0, 2]),
        (FaceOrder.RIGHT_LEFT, [2, 0, 1]),
        (FaceOrder.TOP_BOTTOM, [2, 0, 1]),
        (FaceOrder.BOTTOM_TOP, [1, 0, 2]),
        (FaceOrder.LARGE_SMALL, [1, 0, 2]),
        (FaceOrder.SMALL_LARGE, [2, 0, 1]),
        (FaceOrder.BEST_WORST, [2, 1, 0]),
    ],
)
def test_each_order_counts_the_faces_of_a_shot(order, expected):
    for faces in (1, 2, 3):
        assert swapped(THREE, order, faces, 50) == set(expected[:faces])
    assert swapped(THREE, order, 1, 50, among={expected[2]}) == {expected[2]}


def swapped(table, order, faces, frame, among=None):
    there = [track for track in range(table.tracks) if table.span(track)[0] <= frame <= table.span(track)[1]]
    return first_tracks(table, 0, order, faces, among).at(frame, there)


def test_who_passes_by_is_not_the_first():
    passing = standing((0.9, 0.5, 0.2, 0, 200), (0.2, 0.5, 0.2, 50, 60), (0.5, 0.5, 0.2, 100, 200))
    left, right = FaceOrder.LEFT_RIGHT, FaceOrder.RIGHT_LEFT
    assert [swapped(passing, left, 1, frame) for frame in (0, 55, 99, 100, 200)] == [{0}, {0}, {0}, {2}, {2}]
    assert {frozenset(swapped(passing, right, 1, frame)) for frame in range(201)} == {frozenset({0})}


def test_nobody_steps_in_while_the_first_is_hidden_for_a_moment():
    gap = standing((0.3, 0.5, 0.2, 0, 90), (0.32, 0.5, 0.2, 110, 200), (0.9, 0.5, 0.2, 0, 400))
    turns = first_tracks(gap, 0, FaceOrder.LEFT_RIGHT)
    assert turns.at(90, (0, 2)) == {0}
    assert turns.at(100, (2, None)) == frozenset()
    assert turns.at(110, (2, 1)) == {1}
    assert turns.at(201, (2,)) == {2}  # alone for eight seconds
    assert set(first_tracks(gap, 0, FaceOrder.RIGHT_LEFT).stretches) == {2}


@given(
    tracks=st.lists(
        st.tuples(
            st.floats(0.1, 1.7), st.floats(0.2, 0.8), st.floats(0.05, 0.4), st.integers(0, 200), st.integers(1, 200)
        ),
        max_size=8,
    ),
    order=st.sampled_from(FaceOrder),
    faces=st.integers(1, 3),
)
def test_never_more_at_once_than_wanted_and_nobody_waits_long_while_there_is_room(tracks, order, faces):
    table = standing(*[(x, y, side, first, first + length) for x, y, side, first, length in tracks])
    turns = first_tracks(table, 0, order, faces)
    spans = [table.span(track) for track in range(table.tracks)]
    waited = [0] * len(spans)
    for frame in range(401):
        there = [track for track, (first, last) in enumerate(spans) if first <= frame <= last]
        on = turns.at(frame, there)
        assert len(on) <= faces
        for track in there:
            waited[track] = waited[track] + 1 if track not in on and len(on) < faces else 0
            assert waited[track] <= STEPS_IN_AFTER * table.reach


def options(**asked):
    return SwapOptions(**asked)


def test_gender_and_age_bound_the_selection_and_of_whom_nothing_is_known_is_not_chosen():
    known = replace(
        THREE, male=np.array([0.9, 0.2, np.nan], np.float32), age_years=np.array([39.6, 20, np.nan], np.float32)
    )
    assert fitting_tracks(known, options(gender=Gender.MALE)) == {0}
    assert fitting_tracks(known, options(gender="female")) == {1}
    assert fitting_tracks(known, options(age_from=40)) == {0}  # whole years
    assert fitting_tracks(known, options(age_to=40)) == {0, 1}
    assert fitting_tracks(known, options(age_from=21, age_to=39)) == set()
    assert fitting_tracks(known, options(gender="female", age_to=25)) == {1}


def test_a_face_is_chosen_in_all_frames_or_in_none():
    known = replace(THREE, male=np.array([0.9, 0.2, 0.1], np.float32), age_years=np.array([40, 20, 60], np.float32))
    faces = [
        Face(one, np.zeros((5, 2), np.float32), 1.0) for one in at((0.9, 0.5, 0.2), (0.3, 0.6, 0.3), (1.4, 0.3, 0.1))
    ]

    def chosen(**asked):
        casting = Casting(job().model_copy(update={"swap": options(**asked)}), known)
        return {
            tuple(number for number, face in enumerate(faces) if any(one[0] is face for one in found))
            for found in (casting.choose(frame, faces, HEIGHT_PX) for frame in range(101))
        }

    assert chosen() == {(0, 1, 2)}
    assert chosen(gender="female") == {(1, 2)}
    assert chosen(selection=Selection.FIRST, order="right-left", gender="male") == {(0,)}
    assert chosen(selection=Selection.FIRST, order="left-right", first_faces=2, age_from=30) == {(0, 2)}
    assert chosen(selection=Selection.LARGEST, gender="female") == {(1,)}


class Guess:
    """Reads gender and age out of the face's box."""

    def __init__(self):
        self.asked = 0

    def estimate(self, view, face):
        self.asked += 1
        return Traits(male=float(face.box[0]), age_years=float(face.box[1]))


def seen(track, male, age, frame=0, height=100.0):
    points = np.array([[0, 0], [10, 0], [5, 5], [2, 9], [8, 9]], np.float32)
    return Sighting(frame, 0, track, Face(np.array([male, age, 50, age + height], np.float32), points, 1.0))


def test_guesses_are_averaged_over_a_track_and_over_a_person():
    table = standing((0.3, 0.5, 0.2, 0, 20), (0.9, 0.5, 0.2, 0, 20), (1.4, 0.5, 0.2, 0, 20), people=[0, 1, 1])
    collector = TraitsCollector(Guess())
    for sighting in [seen(0, 1, 30), seen(0, 0, 40), seen(0, 1, 35), seen(1, 1, 20), seen(2, 0, 40)]:
        collector.see(None, [sighting])
    apart = collector.added_to(table, told_apart=False)
    assert apart.age_years == pytest.approx([35, 20, 40])
    assert apart.male == pytest.approx([2 / 3, 1, 0])
    together = collector.added_to(table, told_apart=True)
    assert together.age_years == pytest.approx([35, 30, 30])
    nobody = TraitsCollector(Guess()).added_to(table, told_apart=True)
    assert np.isnan(nobody.male).all() and np.isnan(nobody.age_years).all()


def test_a_long_track_is_asked_about_ever_less_often():
    guess = Guess()
    collector = TraitsCollector(guess)
    for number in range(1000):
        collector.see(None, [seen(0, 1, 30, number)])
    assert guess.asked == 5 + 7  # 8, 16, ..., 512


def test_gender_and_age_survive_the_file(tmp_path):
    known = replace(THREE, male=np.array([1, 0, np.nan], np.float32))
    known.save(tmp_path / "t.npz")
    loaded = TrackTable.load(tmp_path / "t.npz")
    assert np.array_equal(loaded.male, known.male, equal_nan=True)
    assert np.array_equal(loaded.quality, known.quality)
    assert np.isnan(loaded.age_years).all()
