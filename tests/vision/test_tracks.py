"""The table of who is where: a face of any frame finds its person, by the table and that frame alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.job import Consent, FaceMapping, FaceOrder, Selection, Source, SwapJob, SwapOptions
from faceflow.vision.casting import Casting
from faceflow.vision.choosing import first_tracks
from faceflow.vision.faces_file import NO_PERSON
from faceflow.vision.shapes import Face
from faceflow.vision.tracks import TrackTable

HEIGHT_PX = 360
SIDE = 0.3


def box(x, y, side=SIDE):
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)


def table(rows, *, shots=(0,), people, reach=25, size_s=None):
    """`rows`: track, frame, x, y."""
    rows = sorted(rows)
    return TrackTable(
        shots=np.array(shots, np.int64),
        person=np.array(people, np.int32),
        size_s=np.array(size_s or [1.0] * len(people), np.float32),
        track=np.array([row[0] for row in rows], np.int32),
        frame=np.array([row[1] for row in rows], np.int64),
        box=np.array([box(*row[2:]) for row in rows], np.float32),
        reach=reach,
    )


def at(*places):
    return [box(*place) * np.float32(HEIGHT_PX) for place in places]


CROSSING = table(
    [(0, frame, 0.4 + 0.01 * frame, 0.5) for frame in range(0, 101, 5)]
    + [(1, frame, 1.4 - 0.01 * frame, 0.55) for frame in range(0, 101, 5)],
    people=[3, 7],
)


@pytest.mark.parametrize("frame", [0, 7, 23, 44, 58, 83, 100])
def test_two_who_cross_stay_who_they_are(frame):
    there = at((1.4 - 0.01 * frame, 0.55), (0.4 + 0.01 * frame, 0.5))
    assert CROSSING.people_of(frame, there, HEIGHT_PX) == [7, 3]


def test_a_frame_of_another_size_gives_the_same():
    assert CROSSING.people_of(20, [face * 3 for face in at((0.6, 0.5), (1.2, 0.55))], 3 * HEIGHT_PX) == [3, 7]


def test_a_face_that_no_track_covers_is_nobody():
    assert CROSSING.people_of(10, at((0.5, 0.5), (0.9, 0.2)), HEIGHT_PX) == [3, NO_PERSON]
    assert CROSSING.people_of(10, at((0.5, 0.5, 0.05)), HEIGHT_PX) == [NO_PERSON]


def test_a_cut_ends_a_track_whatever_is_in_its_place_afterwards():
    found = table([(0, 0, 0.5, 0.5), (0, 20, 0.5, 0.5), (1, 30, 1.0, 0.5)], shots=(0, 30), people=[0, 1])
    assert [found.people_of(frame, at((0.5, 0.5)), HEIGHT_PX) for frame in (29, 30)] == [[0], [NO_PERSON]]
    assert [found.shot_of(frame) for frame in (0, 29, 30, 99)] == [0, 0, 1, 1]
    assert [found.shot_of_track(track) for track in (0, 1)] == [0, 1]


def test_after_a_gap_a_face_is_looked_for_only_where_it_was_lately():
    found = table([(0, 0, 0.5, 0.5), (0, 100, 0.5, 0.5)], people=[0], reach=10)
    seen = [found.people_of(frame, at((0.5, 0.5)), HEIGHT_PX)[0] for frame in (0, 10, 11, 89, 90, 110, 111)]
    assert seen == [0, 0, NO_PERSON, NO_PERSON, 0, 0, NO_PERSON]


def test_whoever_was_seen_last_before_has_less_claim_than_who_is_there():
    found = table([(0, 0, 0.5, 0.5), (0, 10, 0.5, 0.5), (1, 20, 0.5, 0.5), (1, 40, 0.5, 0.5)], people=[0, 1])
    assert [found.people_of(frame, at((0.5, 0.5)), HEIGHT_PX)[0] for frame in (13, 17, 25)] == [0, 1, 1]


def test_a_person_is_at_one_place_only():
    twice = table([(0, 0, 0.5, 0.5), (1, 0, 1.0, 0.5)], people=[4, 4])
    assert sorted(twice.people_of(0, at((0.5, 0.5), (1.0, 0.5)), HEIGHT_PX)) == [NO_PERSON, 4]


@given(
    frame=st.integers(0, 100),
    places=st.lists(st.tuples(st.floats(0, 1.7), st.floats(0, 1)), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_the_faces_does_not_matter(frame, places, order):
    shuffled = list(range(len(places)))
    order.shuffle(shuffled)
    found = CROSSING.tracks_of(frame, at(*places), HEIGHT_PX)
    again = CROSSING.tracks_of(frame, at(*(places[place] for place in shuffled)), HEIGHT_PX)
    tracks = [track for track in found if track is not None]
    assert len(set(tracks)) == len(tracks)
    if len(set(places)) == len(places):
        assert [found[place] for place in shuffled] == again


def test_a_saved_table_says_the_same(tmp_path):
    CROSSING.save(tmp_path / "tracks.npz")
    loaded = TrackTable.load(tmp_path / "tracks.npz")
    for frame in range(0, 110, 3):
        faces = at((0.4 + 0.01 * frame, 0.5), (1.4 - 0.01 * frame, 0.55))
        assert loaded.people_of(frame, faces, HEIGHT_PX) == CROSSING.people_of(frame, faces, HEIGHT_PX)
    assert TrackTable.empty().people_of(5, at((0.5, 0.5)), HEIGHT_PX) == [NO_PERSON]
    assert not first_tracks(TrackTable.empty(), 0, FaceOrder.LARGE_SMALL).stretches


def face(x, y):
    (there,) = at((x, y))
    return Face(box=there, points=np.zeros((5, 2), np.float32), score=1.0)


def job(*mapped, sources=("one",), selection=Selection.ALL):
    return SwapJob(
        sources=tuple(Source(name=name, portraits=("p.png",)) for name in sources),
        target="t.mp4",
        output="o.mp4",
        face_map=tuple(FaceMapping(person=person, source=source) for person, source in mapped),
        swap=SwapOptions(selection=selection),
        consent=Consent(subject="test", scope="test", declared_by="test"),
    )


def test_all_takes_everybody_and_mapped_only_who_is_named():
    faces = [face(0.5, 0.5), face(1.3, 0.55), face(0.9, 0.1)]
    chosen = Casting(job(), CROSSING).choose(10, faces, HEIGHT_PX)
    assert [(person, source) for _, person, source in chosen] == [(3, "one"), (7, "one"), (NO_PERSON, "one")]
    mapped = Casting(job((7, "two"), sources=("one", "two")), CROSSING, [(7, "two")])
    assert mapped.choose(10, faces, HEIGHT_PX) == [(faces[1], 7, "two")]


def test_the_largest_is_one_face_throughout_a_shot():
    rows = [(0, 0, 0.5, 0.5), (0, 40, 0.5, 0.5), (1, 0, 1.2, 0.5), (1, 39, 1.2, 0.5), (2, 50, 0.5, 0.5)]
    found = table(rows, shots=(0, 50), people=[0, 1, 1], size_s=[0.5, 0.6, 0.4])
    casting = Casting(job(selection=Selection.LARGEST), found)
    both = [face(0.5, 0.5), face(1.2, 0.5)]
    assert [casting.choose(frame, both, HEIGHT_PX) for frame in range(50)] == [[(both[1], 1, "one")]] * 50
    # While the largest is in view in this shot, nobody takes its place where it was not found in a frame.
    assert casting.choose(20, both[:1], HEIGHT_PX) == []
    assert casting.choose(55, both, HEIGHT_PX) == [(both[0], 1, "one")]


def test_the_largest_is_swapped_again_when_it_comes_back_elsewhere():
    rows = [(0, 0, 0.5, 0.5), (0, 20, 0.5, 0.5), (1, 45, 1.2, 0.5), (1, 60, 1.2, 0.5)]
    rows += [(2, 15, 0.9, 0.2), (2, 50, 0.9, 0.2)]
    found = table(rows, people=[0, 1, 2], reach=10, size_s=[0.5, 0.4, 0.3])
    casting = Casting(job(selection=Selection.LARGEST), found)
    assert set(first_tracks(found, 0, FaceOrder.LARGE_SMALL).stretches) == {0, 1}
    here, there, beside = face(0.5, 0.5), face(1.2, 0.5), face(0.9, 0.2)
    assert [person for _, person, _ in casting.choose(10, [here, beside], HEIGHT_PX)] == [0]
    assert casting.choose(32, [beside], HEIGHT_PX) == []
    assert [person for _, person, _ in casting.choose(50, [there, beside], HEIGHT_PX)] == [1]
