"""The measure of calm: a swap that follows the face is calm, one that trembles, swims or stands still is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.in_motion import calm, steady_landmarks


@pytest.fixture(scope="module")
def clip(astronaut, analyser):
    """Frames of a face that is carried about, its landmarks with the network's trembling, and the true ones."""
    generator = np.random.default_rng(5)
    own = analyser.analyse(astronaut)[0].landmarks
    ways = np.cumsum(generator.normal(0, 1.5, (14, 2)), axis=0)
    gray = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    frames = [carried(gray, way) for way in ways]
    true = [own + np.array([*way, 0], np.float32) for way in ways]
    read = [(points + np.array([*generator.normal(0, 0.7, 2), 0])).astype(np.float32) for points in true]
    return frames, read, [points.astype(np.float32) for points in true], ways


def carried(picture, way):
    return cv2.warpAffine(picture, np.float32([[1, 0, way[0]], [0, 1, way[1]]]), picture.shape[1::-1])


def pasted(frames, points, overlay):
    """`overlay` laid over the face of each frame."""
    faces = []
    for frame, landmarks, shown in zip(frames, points, overlay, strict=True):
        mask = np.zeros(frame.shape, np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(landmarks[:, :2]).astype(np.int32)), 255)
        faces.append(cv2.copyTo(shown, mask, frame.copy()))
    return faces


def test_landmarks_are_steadier_and_still_follow(clip):
    frames, read, true, _ = clip
    steady = steady_landmarks(frames, read)
    off = [np.abs((a - b)[:, :2].mean(0)).mean() for a, b in zip(steady, true, strict=True)]
    noise = [np.abs((a - b)[:, :2].mean(0)).mean() for a, b in zip(read, true, strict=True)]
    assert np.mean(off) < 0.75 * np.mean(noise)


def test_what_follows_is_calm_and_what_trembles_or_stands_still_is_not(clip):
    frames, read, true, ways = clip
    steady = steady_landmarks(frames, read)
    other = cv2.flip(frames[0], 1)
    shift = 2 * true[0][:, 0].mean() - (frames[0].shape[1] - 1)
    face = carried(other, (shift - ways[0][0], -ways[0][1]))  # another face at the place of the first
    follows = pasted(frames, true, [carried(face, way) for way in ways])
    shaken = pasted(frames, true, [carried(face, way + (-1) ** number) for number, way in enumerate(ways)])
    frozen = pasted(frames, true, [face for _ in ways])
    good = calm(follows, steady)
    for bad in (calm(shaken, steady), calm(frozen, steady)):
        assert bad.first > 1.25 * good.first
        assert bad.second > 1.25 * good.second
    assert sorted(good.steps) == list(range(1, len(frames)))
