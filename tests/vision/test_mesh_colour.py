"""Swapped skin has the target's own colour and light, whatever the source's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.quality import swapped_picture
from faceflow.vision.mesh_colour import colour_transfer, highlights, light_over, off_skin

SKIN_POINTS = (50, 280, 205, 425, 117, 346, 187, 411, 195, 199)
"""Mesh points on cheeks, bridge of the nose and chin."""
LEFT_CHEEK, RIGHT_CHEEK = (50, 205, 117, 187), (280, 425, 346, 411)


@pytest.fixture(scope="module")
def faces(analyser, astronaut, six_people):
    people = sorted(analyser.analyse(six_people), key=lambda face: float(face.box[0]))
    return [(astronaut, analyser.analyse(astronaut)[0]), *((six_people, face) for face in people)]


def skin_mean(picture, face, points=SKIN_POINTS):
    """Mean colour of discs around mesh points, float64 (3,), BGR."""
    discs = np.zeros(picture.shape[:2], np.uint8)
    for x, y in np.rint(face.landmarks[list(points), :2]).astype(int):
        cv2.circle(discs, (int(x), int(y)), max(1, round(0.04 * face.height_px)), 255, -1)
    return picture[discs > 0].mean(axis=0)


@pytest.mark.parametrize("source", [0, 1, 3])
def test_the_mean_colour_of_the_skin_is_the_targets_own(faces, source):
    off = [
        np.abs(skin_mean(swapped_picture(target, [faces[source]]), target[1]) - skin_mean(*target))
        for number, target in enumerate(faces)
        if number != source
    ]
    assert np.mean(off) < 7.5
    assert np.max(off) < 20


@pytest.mark.parametrize("tint", [(0.35, 0.35, 0.35), (0.9, 0.6, 0.5), (0.4, 0.7, 0.9)])
def test_a_dark_or_tinted_scene_darkens_and_tints_the_face(faces, tint):
    picture, face = faces[0]
    scene = np.rint(picture * np.array(tint)).astype(np.uint8)
    off = skin_mean(swapped_picture((scene, face), [faces[1]]), face) - skin_mean(scene, face)
    assert np.abs(off).max() < 10.5  # the discs see slightly other skin: the source's proportions moved it


def test_a_shadow_on_one_side_stays(faces):
    picture, face = faces[0]
    middle = face.landmarks[4, 0]
    ramp = 1 - 0.5 / (1 + np.exp((np.arange(picture.shape[1]) - middle) / (0.08 * face.height_px)))
    scene = np.rint(picture * ramp[None, :, None]).astype(np.uint8)
    swapped = swapped_picture((scene, face), [faces[1]])
    for cheek in (LEFT_CHEEK, RIGHT_CHEEK):
        assert np.abs(skin_mean(swapped, face, cheek) - skin_mean(scene, face, cheek)).mean() < 14


def noise(seed, middle, spread, side=64):
    generator = np.random.default_rng(seed)
    return np.rint(generator.normal(middle, spread, (side, side, 3))).clip(0, 255).astype(np.uint8)


def test_transfer_and_light_together_match_the_mean_exactly():
    ours, theirs = noise(1, (150, 170, 200), 9), noise(2, (60, 80, 120), 14)
    weight = np.zeros((64, 64), np.float32)
    weight[10:50, 5:40] = 1
    matrix, offset = colour_transfer(ours, theirs, weight)
    moved = (ours.astype(np.float32) @ matrix.T + offset).astype(np.float32)
    lit = moved + light_over(moved, theirs, weight, 50)
    shown = weight > 0
    assert np.abs(lit[shown].mean(0) - theirs[shown].mean(0)).max() < 0.1


def test_too_little_skin_changes_nothing():
    ours, theirs, none = noise(1, 120, 9), noise(2, 60, 9), np.zeros((64, 64), np.float32)
    matrix, offset = colour_transfer(ours, theirs, none)
    assert np.array_equal(matrix, np.eye(3))
    assert not offset.any()
    assert not off_skin(theirs, none).any()
    assert np.array_equal(highlights(theirs, none)[:, 0, 0], np.arange(256))


def test_highlights_bend_only_above_what_the_target_shows():
    table = highlights(noise(3, (100, 150, 220), 5), np.ones((64, 64), np.float32))[:, 0].astype(int)
    assert (np.diff(table, axis=0) >= 0).all()
    assert np.array_equal(table[:100, 0], np.arange(100))
    assert table[255, 0] < 170
    assert table[255, 2] > 225


def test_what_is_not_skin_is_told_by_hue_and_darkness():
    picture = noise(4, (130, 160, 210), 4)
    picture[:8], picture[8:16] = (30, 30, 40), (200, 120, 60)  # hair, a blue wall
    distance = off_skin(picture, np.ones((64, 64), np.float32))
    assert distance[2:6].min() > 5
    assert distance[10:14].min() > 5
    assert distance[20:].max() < 2
