"""Smoothed landmarks: calmer, without lag, never across a cut, and the same in every segment."""

from __future__ import annotations

import numpy as np

from faceflow.vision.face_landmarker import face_of
from faceflow.vision.mesh_topology import frontal
from faceflow.vision.smoothing import LandmarkSmoother


def faces_of(frames: int, jitter: float = 0.0, seed: int = 0, speed: float = 1.5):
    noise = np.random.default_rng(seed)
    result = []
    for number in range(frames):
        angle = 0.02 * number
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
        flat = frontal()[:, :2] @ turn.T * 100 + (200 + speed * number, 150)
        flat = flat + noise.normal(0, jitter, flat.shape)
        landmarks = np.column_stack([flat, frontal()[:, 2] * 100]).astype(np.float32)
        result.append(face_of(landmarks, 1.0))
    return result


def smooth(faces, first=0, radius=8, cuts=()):
    smoother, found = LandmarkSmoother(radius), {}
    for number, face in enumerate(faces, first):
        found.update(smoother.push(number, [face] if face is not None else [], number in cuts))
    found.update(smoother.finish())
    return found


def points(found, number):
    return found[number][0].landmarks


def test_every_frame_comes_back_in_order_and_once():
    for frames, radius in ((1, 8), (3, 8), (30, 8), (30, 0), (30, 2)):
        assert list(smooth(faces_of(frames), radius=radius)) == list(range(frames))


def test_jitter_shrinks_and_steady_motion_does_not_lag():
    true, trembling = faces_of(60), faces_of(60, jitter=1.0)
    found = smooth(trembling)
    raw, calm = (
        np.mean([np.abs(got - true[n].landmarks)[:, :2].mean() for n, got in pairs])
        for pairs in (
            [(n, trembling[n].landmarks) for n in range(10, 50)],
            [(n, points(found, n)) for n in range(10, 50)],
        )
    )
    assert calm < 0.5 * raw
    still = smooth(true)
    assert max(np.abs(points(still, n) - true[n].landmarks)[:, :2].max() for n in range(10, 50)) < 0.15


def test_a_frame_is_the_same_in_every_segment_with_enough_context():
    faces = faces_of(80, jitter=1.0)
    whole = smooth(faces)
    for first, last in ((0, 40), (24, 56), (40, 80)):
        part = smooth(faces[first:last], first)
        inner = range(first + (6 if first else 0), last - (6 if last < 80 else 0))
        assert all(np.array_equal(points(whole, n), points(part, n)) for n in inner)


def test_nothing_crosses_a_cut_or_a_gap():
    one, other = faces_of(20, jitter=1.0), faces_of(20, jitter=1.0, seed=9)
    joined = smooth([*one, *other], cuts={20})
    assert all(np.array_equal(points(joined, n), points(smooth(one), n)) for n in range(20))
    gap = smooth([*one, None, *one])
    assert gap[20] == []
    assert all(np.array_equal(points(gap, n), points(smooth(one), n)) for n in range(20))


def test_two_faces_are_not_mixed():
    left, right = (
        faces_of(20, speed=0),
        [face_of(f.landmarks + np.float32([300, 0, 0]), 1.0) for f in faces_of(20, speed=0)],
    )
    smoother, found = LandmarkSmoother(8), {}
    for number in range(20):
        pair = [left[number], right[number]]
        found.update(smoother.push(number, pair if number % 2 else pair[::-1], False))
    found.update(smoother.finish())
    for number, pair in found.items():
        centres = sorted(float(face.box[0]) for face in pair)
        assert np.allclose(centres, sorted([left[number].box[0], right[number].box[0]]), atol=1.0), number


def test_the_shake_of_a_camera_is_followed():
    shake = [0.0, 3.0, 0.0, -3.0] * 10
    shaken = []
    for face, way in zip(faces_of(40, speed=0), shake, strict=True):
        shaken.append(face_of((face.landmarks + np.array([0, way, 0], np.float32)).astype(np.float32), 1.0))
    found = smooth(shaken)
    heights = [float(points(found, number)[:, 1].mean()) - float(faces_of(40, speed=0)[number].landmarks[:, 1].mean())
               for number in range(8, 32)]  # fmt: skip
    followed = np.dot(heights, shake[8:32]) / np.dot(shake[8:32], shake[8:32])
    assert followed > 0.7
