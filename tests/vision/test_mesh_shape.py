"""The target's inner face takes the source's proportions; its outline, its expression and its turned side stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceflow.vision.face_landmarker import LEFT_EYE, RIGHT_EYE
from faceflow.vision.mesh_shape import carried_along, neutral_shape, reshaped
from faceflow.vision.mesh_topology import INNER_LIPS, OVAL, frontal

NOSE_TIP = 4


def placed(shape, size=200.0, at=(150.0, 30.0), roll=0.0, yaw=0.0):
    """A face in frontal space as landmarks of a picture."""
    cos, sin, turn, side = np.cos(roll), np.sin(roll), np.cos(yaw), np.sin(yaw)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.array(
        [[turn, 0, side], [0, 1, 0], [-side, 0, turn]]
    )
    return (shape @ rotation.T * size + (*at, 0)).astype(np.float32)


def long_nosed():
    """A source whose nose ends lower than the mean face's."""
    shape = frontal().astype(np.float64).copy()
    near = np.linalg.norm(shape[:, :2] - shape[NOSE_TIP, :2], axis=1) < 0.12
    shape[near, 1] += 0.03
    return shape


def test_the_nose_moves_where_the_source_has_it_and_the_outline_stays():
    source = neutral_shape([placed(long_nosed(), size=90, at=(60, 40), roll=0.4)])
    target = placed(frontal(), roll=-0.3)
    moved = (reshaped(target, source) - target)[:, :2]
    down = np.array([np.sin(0.3), np.cos(0.3)])
    assert 0.012 < moved[NOSE_TIP] @ down / 200 < 0.035
    assert np.abs(moved[list(OVAL)]).max() < 0.01
    assert np.abs(moved[list(LEFT_EYE + RIGHT_EYE)]).max() / 200 < 0.01


def test_the_same_proportions_change_nothing():
    target = placed(frontal(), roll=0.2, yaw=0.3)
    assert np.abs(reshaped(target, neutral_shape([placed(frontal(), size=70, yaw=-0.2)])) - target).max() < 0.3


def test_expression_stays():
    shape = frontal().astype(np.float64).copy()
    shape[list(INNER_LIPS), 1] += np.where(shape[list(INNER_LIPS), 1] > shape[list(INNER_LIPS), 1].mean(), 0.06, 0)
    shape[list(LEFT_EYE), 1] = shape[list(LEFT_EYE), 1].mean()  # a wink with the mouth open
    target = placed(shape)
    moved = reshaped(target, neutral_shape([placed(long_nosed())]))
    for ring in (LEFT_EYE, RIGHT_EYE, INNER_LIPS):
        before, after = target[list(ring), :2], moved[list(ring), :2]
        assert np.abs((after - after.mean(0)) - (before - before.mean(0))).max() < 0.02


def test_a_profile_keeps_its_shape():
    target = placed(frontal(), yaw=np.radians(75))
    assert np.array_equal(reshaped(target, neutral_shape([placed(long_nosed())])), target)


def test_the_picture_goes_along_and_only_where_the_mesh_moved():
    target = placed(frontal(), size=160, at=(96, 16))
    after = target.copy()
    eyes = list(LEFT_EYE)
    after[eyes, 1] += 4
    picture = np.full((192, 192, 3), 90, np.uint8)
    x, y = np.rint(target[eyes, :2].mean(0)).astype(int)
    cv2.circle(picture, (int(x), int(y)), 3, (255, 255, 255), -1)
    bent, moved = carried_along(picture, target, after, 2)
    rows = np.arange(192)[:, None] * np.ones((1, 192))
    bright = bent[..., 0] > 150
    assert rows[bright].mean() - y == pytest.approx(4, abs=1)
    still = np.ones((192, 192), bool)
    still[y - 30 : y + 34, x - 40 : x + 40] = False
    assert not moved[still].any()
    assert np.array_equal(bent[still], picture[still])
    assert moved[y, x] == 255
