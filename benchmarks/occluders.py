"""Things to hold in front of a face, drawn with a mask that is known: a hand, a microphone, hair, glasses.

Each takes a picture, the landmarks of a face in it and how far it has come in (0 to 1), and gives the picture with it
and its mask. The hand is made of the cheek's own skin: colour does not tell it, only that fingers are round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.shapes import Picture

Floats = NDArray[np.float32]
Occluder = Callable[[Picture, Floats, float], tuple[Picture, Floats]]

_FINE = 4
"""Masks are drawn this many times finer, for soft edges."""
_CHEEK, _MOUTH = 50, 13


@dataclass(frozen=True)
class _Frame:
    """A face's own axes: `at(x, y)` in face widths right and down from between the eyes."""

    middle: Floats
    across: Floats
    width: float

    @classmethod
    def of(cls, landmarks: Floats) -> _Frame:
        left, right = landmarks[[33, 133], :2].mean(0), landmarks[[263, 362], :2].mean(0)
        across = (right - left) / np.linalg.norm(right - left)
        width = float(np.linalg.norm(landmarks[454, :2] - landmarks[234, :2]))
        return cls(((left + right) / 2).astype(np.float32), across.astype(np.float32), width)

    def at(self, x: float, y: float) -> Floats:
        down = np.array([-self.across[1], self.across[0]], np.float32)
        return np.asarray(self.middle + (self.across * x + down * y) * self.width, np.float32)


def hand(picture: Picture, landmarks: Floats, come: float) -> tuple[Picture, Floats]:
    """Four fingers of the cheek's skin that come from below over the mouth and one cheek."""
    face = _Frame.of(landmarks)
    texture = _skin(picture, landmarks[_CHEEK, :2], face.width)
    result, total = picture.astype(np.float32), np.zeros(picture.shape[:2], np.float32)
    below = 1.1 * (1 - come)
    for finger in range(4):
        root, tip = (
            (-0.62 + 0.14 * finger, 1.15 + below),
            (-0.30 + 0.13 * finger, 0.34 + 0.07 * abs(finger - 1) + below),
        )
        start, end, half = face.at(*root), face.at(*tip), 0.062 * face.width
        share, across = _capsule(picture.shape[:2], start, end, half)
        shade = 1.03 - 0.33 * np.square(across)
        result += (texture * shade[..., None] - result) * share[..., None]
        total = np.maximum(total, share)
    return _codes(result), total


def microphone(picture: Picture, landmarks: Floats, come: float) -> tuple[Picture, Floats]:
    """A dark ball on a stick in front of the mouth."""
    face = _Frame.of(landmarks)
    below = 0.9 * (1 - come)
    ball, _ = _capsule(picture.shape[:2], face.at(0.05, 0.62 + below), face.at(0.06, 0.64 + below), 0.15 * face.width)
    stick, across = _capsule(
        picture.shape[:2], face.at(0.08, 0.7 + below), face.at(0.3, 1.7 + below), 0.06 * face.width
    )
    share = np.maximum(ball, stick)
    rows, columns = np.indices(picture.shape[:2])
    mesh = 38 + 14 * ((rows + columns) % 3 == 0) + 20 * (1 - np.square(across))
    result = picture + (mesh[..., None] - picture) * share[..., None]
    return _codes(result), share


def hair(picture: Picture, landmarks: Floats, come: float) -> tuple[Picture, Floats]:
    """A lock of dark hair that falls over one eye and cheek."""
    face = _Frame.of(landmarks)
    total: Floats = np.zeros(picture.shape[:2], np.float32)
    for strand in range(4):
        line = np.array(
            [
                face.at(0.50 - come * (0.36 - 0.05 * strand) + 0.16 * np.sin(2.2 * step), -0.6 + 1.5 * step)
                for step in np.linspace(0, 1, 12)
            ]
        )
        mask = np.zeros([size * _FINE for size in picture.shape[:2]], np.uint8)
        points = np.rint((line + 0.5) * _FINE).astype(np.int32)
        thickness = max(1, round((0.022 + 0.008 * (strand % 2)) * face.width * _FINE))
        cv2.polylines(mask, [points], False, 255, thickness, cv2.LINE_AA)
        total = np.maximum(total, _small(mask, picture.shape[:2]))
    result = picture + (np.array([22, 28, 38], np.float32) - picture) * total[..., None]
    return _codes(result), total


def glasses(picture: Picture, landmarks: Floats, come: float) -> tuple[Picture, Floats]:
    """Dark rims that come from above and sit on the nose."""
    face = _Frame.of(landmarks)
    above = -1.0 * (1 - come)
    mask = np.zeros([size * _FINE for size in picture.shape[:2]], np.uint8)
    thickness = max(1, round(0.035 * face.width * _FINE))
    angle = float(np.degrees(np.arctan2(face.across[1], face.across[0])))

    def place(x: float, y: float) -> tuple[int, int]:
        across, down = np.rint((face.at(x, y + above) + 0.5) * _FINE).astype(int)
        return int(across), int(down)

    for side in (-1, 1):
        axes = (round(0.20 * face.width * _FINE), round(0.15 * face.width * _FINE))
        cv2.ellipse(mask, place(0.245 * side, 0.04), axes, angle, 0, 360, 255, thickness, cv2.LINE_AA)
        cv2.line(mask, place(0.44 * side, 0.0), place(0.6 * side, -0.02), 255, thickness, cv2.LINE_AA)
    cv2.line(mask, place(-0.05, 0.02), place(0.05, 0.02), 255, thickness, cv2.LINE_AA)
    share = _small(mask, picture.shape[:2])
    result = picture + (np.array([30, 24, 26], np.float32) - picture) * share[..., None]
    return _codes(result), share


OCCLUDERS: dict[str, Occluder] = {"hand": hand, "microphone": microphone, "hair": hair, "glasses": glasses}


def _capsule(shape: tuple[int, ...], start: Floats, end: Floats, half: float) -> tuple[Floats, Floats]:
    """Share (0 to 1) of a bar with round ends, and the distance from its axis (1 at its edge)."""
    rows, columns = np.indices(shape[:2], np.float32)
    along = (end - start).astype(np.float64)
    step = ((columns - start[0]) * along[0] + (rows - start[1]) * along[1]) / max(1e-6, float(along @ along))
    step = step.clip(0, 1)
    away = np.hypot(columns - start[0] - step * along[0], rows - start[1] - step * along[1])
    return np.asarray((half - away + 0.5).clip(0, 1), np.float32), np.asarray((away / half).clip(0, 1), np.float32)


def _skin(picture: Picture, middle: Floats, width: float) -> Floats:
    """The cheek's skin all over the picture: float32 (H, W, 3)."""
    reach = max(3, round(0.07 * width))
    x, y = (round(float(value)) for value in middle)
    patch = picture[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    double = np.vstack([np.hstack([patch, patch[:, ::-1]]), np.hstack([patch[::-1], patch[::-1, ::-1]])])
    times = [-(-size // part) for size, part in zip(picture.shape[:2], double.shape[:2], strict=True)]
    return np.tile(double, (*times, 1))[: picture.shape[0], : picture.shape[1]].astype(np.float32)


def _small(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> Floats:
    return cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def _codes(picture: NDArray[np.floating]) -> Picture:
    return np.asarray(np.rint(picture.clip(0, 255)), np.uint8)
