"""The embedded analyser finds faces, and only faces, in pictures of any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.material import package_file
from faceflow.errors import EngineError, FaceError, JobError
from faceflow.settings import LimitSettings, SwapSettings
from faceflow.vision import shipped_models
from faceflow.vision.embedded_analyser import DETECT_EVERY, EXPECT_EVERY
from faceflow.vision.face_detector import overlap
from faceflow.vision.portraits import load_identity, portrait_face
from faceflow.vision.registry import engine_versions, make_analyser, make_restorer, make_swapper
from faceflow.vision.view import PictureView


def test_it_finds_all_faces(analyser, six_people, astronaut, carphone):
    assert len(analyser.analyse(six_people)) == 6
    assert len(analyser.analyse(astronaut)) == 1
    assert all(len(analyser.analyse(frame)) == 1 for frame in carphone)


def test_points_are_where_another_model_sees_them(analyser, recogniser, astronaut, six_people):
    faces = [(astronaut, face) for face in analyser.analyse(astronaut)]
    faces += [(six_people, face) for face in analyser.analyse(six_people)]
    for picture, face in faces:
        corners = recogniser.points(picture, face)
        eyes = np.stack([corners[2:4].mean(0), corners[:2].mean(0)])
        assert np.linalg.norm(face.points[:2] - eyes, axis=1).max() < 0.12 * face.height_px
        assert (face.points[2:, 1] > face.points[:2, 1].min()).all()
        assert face.landmarks.shape == (468, 3)
        assert face.score > 0.9


def test_it_finds_no_face_where_there_is_none(analyser):
    for name in ("coffee.png", "chelsea.png", "brick.png", "rocket.jpg"):
        picture = cv2.imread(str(package_file("skimage", "data", name)))
        assert analyser.analyse(picture) == [], name


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (16, 2000), (2000, 16), (8192, 1024)])
def test_any_size_is_looked_at(analyser, size):
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    assert analyser.analyse(noise) == []


@pytest.mark.parametrize("factor", [0.35, 1.0, 6.0])
def test_a_face_is_found_at_any_scale(analyser, astronaut, factor):
    face = analyser.analyse(astronaut)[0]
    scaled = cv2.resize(
        astronaut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    found = analyser.analyse(scaled)
    assert len(found) == 1
    assert np.abs(found[0].points / factor - face.points).max() < 4


def test_it_is_deterministic(analyser, six_people):
    one, other = analyser.analyse(six_people), analyser.analyse(six_people)
    assert all(np.array_equal(a.landmarks, b.landmarks) for a, b in zip(one, other, strict=True))


def test_tracking_follows_and_sees_a_face_appear_after_a_cut(analyser, astronaut, six_people):
    tracker = analyser.tracker(cuts=(3,), first=0)
    moved = [np.roll(astronaut, 4 * step, axis=1) for step in range(3)]
    for step, picture in enumerate(moved):
        faces = tracker.track(PictureView(picture))
        assert len(faces) == 1
        assert (
            abs(
                float(faces[0].points[:, 0].mean())
                - float(analyser.analyse(astronaut)[0].points[:, 0].mean())
                - 4 * step
            )
            < 3
        )
    assert len(tracker.track(PictureView(six_people))) == 6
    assert tracker.track(PictureView(np.zeros_like(six_people))) == []


def test_a_portrait_needs_one_clear_face(analyser, astronaut, six_people):
    limits = LimitSettings()
    with pytest.raises(FaceError, match=r"face\.several_in_source"):
        portrait_face(analyser, six_people, "t1", limits)
    with pytest.raises(FaceError, match=r"face\.none_in_source"):
        portrait_face(analyser, np.zeros((64, 64, 3), np.uint8), "black", limits)
    with pytest.raises(FaceError, match=r"face\.too_small_in_source"):
        portrait_face(analyser, astronaut, "astronaut", LimitSettings(min_face_px=400))
    small = np.zeros((600, 1000, 3), np.uint8)
    small[44:556, :512] = astronaut
    small[300:500, 700:900] = cv2.resize(astronaut, (200, 200), interpolation=cv2.INTER_AREA)
    assert portrait_face(analyser, small, "two sizes", limits).box[2] < 512
    assert load_identity(make_swapper("mesh", SwapSettings()), analyser, "both", [astronaut, small]).name == "both"


def test_unknown_engines_name_those_that_exist():
    for make in (make_analyser, make_swapper, make_restorer):
        with pytest.raises(JobError, match=r"job\.engine_unknown") as caught:
            make("none such", SwapSettings())
        assert caught.value.fields["known"]
    assert make_swapper("mesh", SwapSettings()) is make_swapper("mesh", SwapSettings())
    assert set(engine_versions()) == {"analyser.embedded", "engine.mesh", "restorer.detail", "restorer.none"}


def test_a_missing_model_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shipped_models, "_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(EngineError, match=r"engine\.model_missing"):
        shipped_models.LiteModel(shipped_models.FACE_LANDMARKS)


def test_from_a_frame_of_detection_on_the_past_does_not_count(analyser, astronaut):
    fresh = analyser.tracker(cuts=(), first=DETECT_EVERY)
    old = analyser.tracker(cuts=(), first=DETECT_EVERY - 2)
    for step in (9, 5):
        old.track(PictureView(np.roll(astronaut, step, axis=1)))
    for _ in range(3):
        one, other = (tracker.track(PictureView(astronaut)) for tracker in (fresh, old))
        assert np.array_equal(one[0].landmarks, other[0].landmarks)


def test_what_is_expected_is_found_however_small(analyser, six_people):
    small = cv2.resize(six_people, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[100 : 100 + small.shape[0], 300 : 300 + small.shape[1]] = small
    boxes = [face.box * np.float32(0.3) + (300, 100, 300, 100) for face in analyser.analyse(six_people)]
    surprised = analyser.tracker((), 0, lambda number: []).track(PictureView(frame))
    expected = analyser.tracker((), 0, lambda number: boxes).track(PictureView(frame))
    assert len(surprised) < 6
    assert len(expected) == 6
    assert all(min(np.abs(face.box - box).max() for box in boxes) < 8 for face in expected)


def test_a_face_that_comes_in_is_seen_within_a_few_frames(analyser, astronaut):
    small = cv2.resize(astronaut, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    empty = np.zeros((720, 1280, 3), np.uint8)
    filled = empty.copy()
    filled[200 : 200 + len(small), 500 : 500 + len(small)] = small
    box = analyser.analyse(astronaut)[0].box * np.float32(0.3) + (500, 200, 500, 200)
    tracker = analyser.tracker((), 0, lambda number: [box])
    found = [len(tracker.track(PictureView(filled if number >= 6 else empty))) for number in range(DETECT_EVERY)]
    assert found[:6] == [0] * 6
    assert found[6 + EXPECT_EVERY - 1 :] == [1] * (DETECT_EVERY - 6 - EXPECT_EVERY + 1)


def test_segments_agree_on_expected_faces(analyser, six_people):
    boxes = [face.box for face in analyser.analyse(six_people)]
    views = [PictureView(np.roll(six_people, 3 * step, axis=1)) for step in range(6)]
    old = analyser.tracker((), DETECT_EVERY - 2, lambda number: boxes)
    fresh = analyser.tracker((), DETECT_EVERY, lambda number: boxes)
    before = [old.track(view) for view in views]
    after = [fresh.track(view) for view in views[2:]]
    for one, other in zip(before[2:], after, strict=True):
        assert len(one) == len(other) == 6
        assert all(np.array_equal(a.landmarks, b.landmarks) for a, b in zip(one, other, strict=True))


def test_overlap_is_what_two_boxes_share_of_what_they_cover_together():
    box = np.array([0, 0, 2, 2], np.float32)
    assert overlap(box, box) == 1.0
    assert overlap(box, box + np.array([1, 0, 1, 0], np.float32)) == pytest.approx(1 / 3)
    assert overlap(box, np.array([0, 0, 1, 1], np.float32)) == pytest.approx(1 / 4)
    assert overlap(box, box + 2) == 0.0
