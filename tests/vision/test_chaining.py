"""Which sighting goes on which track, and which tracks are one person: with a recogniser whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from faceflow.vision.chaining import VIEWS_AT_FIRST, VIEWS_EVERY_S, Chains, _cheapest_pairs
from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.people import Seen, frontal, is_sure, matches, people_of_tracks
from faceflow.vision.shapes import Face

ANNA, BEN = np.array([1.0, 0, 0], np.float32), np.array([0, 1.0, 0], np.float32)
LOOKS = {id(ANNA): 1, id(BEN): 2}
SIDE = 100.0


class Scene:
    """A view in which it is known who is where; patches show a texture of their own for everybody."""

    size = (640, 360)

    def __init__(self, *placed, alike=False):
        self.placed = placed
        self.alike = alike

    def who(self, face):
        x, y = (face.box[:2] + face.box[2:]) / 2
        return min(self.placed, key=lambda one: abs(one[1] - x) + abs(one[2] - y))[0]

    def faces(self):
        return [a_face(x, y) for _, x, y in self.placed]

    def patch(self, matrix, side_px):
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]).astype(np.float64))
        middle = inverse @ (side_px / 2, side_px / 2, 1)
        who = min(self.placed, key=lambda one: abs(one[1] - middle[0]))[0]
        seed = 0 if self.alike else LOOKS[id(who)]
        return np.random.default_rng(seed).integers(0, 255, (side_px, side_px, 3)).astype(np.uint8)


class Oracle:
    """Knows everybody, and counts how often it is asked."""

    name, version, same_person = "oracle", "1", 0.55

    def __init__(self):
        self.asked = 0

    def embed(self, view, face):
        self.asked += 1
        return view.who(face)


def a_face(x, y, turned=0.0):
    half = SIDE / 2
    points = np.array([[x - 20, y], [x + 20, y], [x + turned, y + 10], [x - 15, y + 30], [x + 15, y + 30]], np.float32)
    return Face(np.array([x - half, y - half, x + half, y + half], np.float32), points, 1.0)


def chained(recogniser, *looks):
    """Track numbers at each look; `looks`: time and scene."""
    chains, found = Chains(recogniser), []
    for number, (time_s, scene) in enumerate(looks):
        faces = scene.faces()
        tracks = chains.look(number, round(time_s * 24), 0, time_s, scene, faces)
        found.append([track.number for track in tracks])
    return found, chains


def test_two_who_change_places_between_two_looks_are_told_by_their_faces():
    before, after = Scene((ANNA, 200, 180), (BEN, 250, 180)), Scene((ANNA, 230, 180), (BEN, 220, 180))
    assert chained(Oracle(), (0.0, before), (0.125, after))[0] == [[0, 1], [0, 1]]
    # By place alone they are exchanged: that is all that can be known then.
    assert chained(None, (0.0, before), (0.125, after))[0] == [[0, 1], [1, 0]]
    # Where place is clear and wrong, they look unlike themselves: tracks begin anew, and the people stay two.
    farther = Scene((ANNA, 245, 180), (BEN, 205, 180))
    found, chains = chained(Oracle(), (0.0, before), (0.125, farther), (0.25, farther))
    assert found == [[0, 1], [2, 3], [2, 3]]
    assert people_of_tracks([track.seen for track in chains.tracks], 0.55) == [0, 1, 0, 1]


def test_somebody_else_in_the_same_place_begins_a_track_at_once():
    same_place = [(0.125 * step, Scene((ANNA if step < 30 else BEN, 300, 180))) for step in range(34)]
    found, _ = chained(Oracle(), *same_place)
    assert found == [[0]] * 30 + [[1]] * 4


def test_somebody_who_looks_alike_is_found_out_within_two_seconds():
    scenes = [(0.125 * step, Scene((ANNA if step < 30 else BEN, 300, 180), alike=True)) for step in range(60)]
    found, _ = chained(Oracle(), *scenes)
    first = found.index([1])
    assert 30 <= first <= 30 + VIEWS_EVERY_S / 0.125
    assert found[first:] == [[1]] * (60 - first)


def test_whoever_comes_back_goes_on_with_their_track_and_nobody_elses():
    gone = Scene((BEN, 500, 180))
    for who, expected in ((ANNA, 0), (BEN, 2)):
        back = Scene((who, 210, 180))
        other = [] if who is BEN else [(BEN, 500.0, 180.0)]
        back.placed = (*back.placed, *other)
        found, _ = chained(
            Oracle(), (0.0, Scene((ANNA, 200, 180), (BEN, 500, 180))), (0.5, gone), (1.0, gone), (1.5, back)
        )
        assert found[-1][0] == expected


def test_a_face_that_is_alone_is_seldom_asked_about():
    oracle = Oracle()
    chained(oracle, *((0.125 * step, Scene((ANNA, 300 + step / 4, 180))) for step in range(80)))
    assert VIEWS_AT_FIRST <= oracle.asked <= VIEWS_AT_FIRST + 10 / VIEWS_EVERY_S


def test_a_fast_face_is_where_its_motion_takes_it():
    ways = [100, 160, 245, 335, 425, 515]  # farther from look to look than a face may be from where it was
    scenes = [(0.5 * step, Scene((ANNA, x, 180))) for step, x in enumerate(ways)]
    assert chained(None, *scenes)[0] == [[0]] * 6
    assert chained(None, *scenes, (3.0, Scene((ANNA, 20, 180))))[0][-1] == [1]


def test_after_a_gap_a_face_must_be_more_like_its_track():
    changed = ANNA + np.array([0, 0.6, 0], np.float32)
    LOOKS[id(changed)] = 1
    there, gone, now = Scene((ANNA, 200, 180)), Scene(), Scene((changed, 200, 180))
    assert chained(Oracle(), (0.0, there), (3.0, now))[0][-1] == [0]
    assert chained(Oracle(), (0.0, there), (0.5, gone), (3.0, now))[0][-1] == [1]


def track(shot, looks, *views, sure=True):
    seen = Seen(shot, list(looks))
    for view in views:
        seen.add(np.asarray(view, np.float32), sure)
    return seen


def test_tracks_of_one_person_come_together_across_shots():
    near_anna, near_ben = ANNA + 0.1, BEN + 0.1
    tracks = [track(0, [0, 1], ANNA), track(0, [0, 1], BEN), track(1, [2, 3], near_ben), track(2, [4, 5], near_anna)]
    assert people_of_tracks(tracks, 0.55) == [0, 1, 1, 0]
    assert people_of_tracks(tracks, None) == [0, 1, 0, 0], "at least two, whoever they are"


def test_two_who_are_seen_together_are_two_however_alike():
    assert people_of_tracks([track(0, [0, 1, 2], ANNA), track(0, [2, 3], ANNA)], 0.55) == [0, 1]
    assert people_of_tracks([track(0, [0, 1, 2], ANNA), track(0, [3, 4], ANNA)], 0.55) == [0, 0]


def test_what_was_seen_badly_joins_only_who_it_is_clearly():
    between = ANNA + np.array([0.5, 0, 0], np.float32)
    assert people_of_tracks([track(0, [0, 1], ANNA), track(1, [2, 3], between)], 0.55) == [0, 0]
    assert people_of_tracks([track(0, [0, 1], ANNA), track(1, [2, 3], between, sure=False)], 0.55) == [0, 1]


def test_what_was_seen_once_in_passing_is_nobody_new():
    tracks = [track(0, [0, 1, 2, 3], ANNA), track(0, [2], BEN), track(0, [3], ANNA + 0.01), track(1, [4], BEN)]
    tracks[2].looks = [4]
    assert people_of_tracks(tracks, 0.55) == [0, 1, 0, 1], "it is whom it looks like, where that is known"
    assert people_of_tracks(tracks[:2], 0.55) == [0, NO_PERSON]


def test_a_turned_or_tiny_face_is_not_relied_on():
    assert frontal(a_face(100, 100)) == 1
    assert is_sure(a_face(100, 100), 40)
    assert not is_sure(a_face(100, 100), 20)
    assert not is_sure(a_face(100, 100, turned=22), 40)


@pytest.mark.parametrize(("asked", "nearest"), [(ANNA, 0), (BEN, 2)])
def test_a_reference_is_nearest_to_its_person(asked, nearest):
    found = matches(asked, [ANNA.tolist(), None, BEN.tolist()])
    assert found[0][1] == nearest
    assert len(found) == 2


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 40)))
def test_the_cheapest_pairs_are_the_cheapest(cost):
    rows, columns = _cheapest_pairs(cost)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == min(cost.shape)
    assert cost[rows, columns].sum() == cost[linear_sum_assignment(cost)].sum()
