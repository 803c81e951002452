"""The motion of a face is read from the picture, whatever the landmarks say, and a hand that passes is not followed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from faceflow.vision.face_landmarker import face_of, region_of_face
from faceflow.vision.motion import moved
from faceflow.vision.shapes import Sight
from faceflow.vision.smoothing import LandmarkSmoother


@pytest.fixture(scope="module")
def portrait(astronaut, analyser):
    return astronaut, analyser.analyse(astronaut)[0]


def seen(picture, face, landmarks=None):
    """The face with the window of `picture` that its landmarks would be read from."""
    matrix = region_of_face(face.landmarks).matrix(192)
    gray = cv2.cvtColor(cv2.warpAffine(picture, matrix, (192, 192)), cv2.COLOR_BGR2GRAY)
    return replace(face if landmarks is None else face_of(landmarks, 1.0), sight=Sight(gray, matrix))


def shifted(picture, face, turn, shift):
    """Picture and face after a motion (complex turn and shift)."""
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    flat = face.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    landmarks = np.column_stack([flat, face.landmarks[:, 2]]).astype(np.float32)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1]), face_of(landmarks, 1.0)


TURN, SHIFT = 1.02 * np.exp(0.02j), complex(-4.3, 2.6)


def test_the_motion_of_the_picture_is_found(portrait):
    picture, face = portrait
    after_picture, after = shifted(picture, face, TURN, SHIFT)
    motion = moved(seen(picture, face), seen(after_picture, after))
    middle = complex(*face.landmarks[:, :2].mean(0).tolist())
    assert motion is not None
    assert abs(motion.turn * middle + motion.shift - (TURN * middle + SHIFT)) < 0.15
    assert abs(motion.turn - TURN) < 0.004
    back = motion.back.after(motion)
    assert abs(back.turn - 1) + abs(back.shift) < 1e-6


def test_a_hand_over_a_third_of_the_face_is_not_followed(portrait):
    picture, face = portrait
    hand = np.random.default_rng(1).integers(0, 255, (45, 45, 3)).astype(np.uint8)
    hand = np.asarray(cv2.GaussianBlur(hand, (0, 0), 2), np.uint8)
    x, y = np.rint(face.landmarks[50, :2]).astype(int)
    covered = [picture.copy(), picture.copy()]
    for number, frame in enumerate(covered):
        frame[y - 22 : y + 23, x - 30 + 5 * number : x + 15 + 5 * number] = hand
    motion = moved(seen(covered[0], face), seen(covered[1], face))
    middle = complex(*face.landmarks[:, :2].mean(0).tolist())
    assert motion is None or abs(motion.turn * middle + motion.shift - middle) < 0.5


def test_without_a_picture_nothing_is_told(portrait):
    picture, face = portrait
    assert moved(replace(face, sight=None), seen(picture, face)) is None


def test_a_shaking_camera_is_followed_and_trembling_landmarks_are_not(portrait):
    picture, face = portrait
    generator = np.random.default_rng(3)
    smoother, found, true = LandmarkSmoother(5), {}, []
    for number in range(24):
        way = complex(*generator.normal(0, 3, 2))
        frame, here = shifted(picture, face, 1 + 0j, way)
        true.append(here.landmarks)
        trembling = here.landmarks + np.array([*generator.normal(0, 1.0, 2), 0], np.float32)
        found.update(smoother.push(number, [seen(frame, here, trembling.astype(np.float32))], False))
    found.update(smoother.finish())
    off = [np.abs((found[number][0].landmarks - true[number])[:, :2].mean(0)) for number in range(5, 19)]
    assert np.mean(off) < 0.45  # the landmarks themselves are off by 0.8
