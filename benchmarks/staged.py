"""Clips whose people and places are known in every frame: side by side, exchanged by a cut, crossing, coming back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.material import ASTRONAUT, CARPHONE, SIX_PEOPLE

WIDTH, HEIGHT, RATE = 640, 360, 24
MAN, WOMAN, OTHER = "man", "woman", "other"


@dataclass(frozen=True)
class Placed:
    """Who is where in a frame: the face's middle in pixels, and its rough height."""

    name: str
    x: float
    y: float
    height: float = 130.0


Script = list[list[Placed]]


@cache
def _heads() -> dict[str, list[np.ndarray]]:
    """Heads, 220 pixels wide and high with the face in the middle, one a frame."""
    astronaut = cv2.imread(str(ASTRONAUT))
    people = cv2.imread(str(SIX_PEOPLE))
    capture, talking = cv2.VideoCapture(str(CARPHONE)), []
    while True:
        good, frame = capture.read()
        if not good:
            break
        talking.append(_cut(frame, (90, 66), 88))
    return {MAN: talking, WOMAN: [_cut(astronaut, (223, 113), 180)], OTHER: [_cut(people, (955, 138), 190)]}


def _cut(picture: np.ndarray, middle: tuple[int, int], side: int) -> np.ndarray:
    scale = 220 / side
    matrix = np.array([[scale, 0, 110 - middle[0] * scale], [0, scale, 110 - middle[1] * scale]])
    return cv2.warpAffine(picture, matrix, (220, 220), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


@cache
def _soft() -> np.ndarray:
    mask = np.zeros((220, 220), np.float32)
    cv2.ellipse(mask, (110, 110), (82, 98), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), 4)[..., None]


def _background(shot: int) -> np.ndarray:
    random = np.random.default_rng(shot)
    coarse = random.integers(30, 200, (6, 10, 3)).astype(np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def drawn(placed: list[Placed], frame: int, shot: int) -> np.ndarray:
    """One frame; who comes later in the list is in front."""
    picture = _background(shot).astype(np.float32)
    for one in placed:
        heads = _heads()[one.name]
        scale = one.height / 130.0
        matrix = np.array([[scale, 0, one.x - 110 * scale], [0, scale, one.y - 110 * scale]])
        size = (WIDTH, HEIGHT)
        head = cv2.warpAffine(heads[frame % len(heads)], matrix, size).astype(np.float32)
        mask = cv2.warpAffine(_soft(), matrix, size)[..., None]
        picture = picture * (1 - mask) + head * mask
    return picture.clip(0, 255).astype(np.uint8)


def write_clip(path: Path, shots: list[Script]) -> tuple[list[list[Placed]], list[int]]:
    """Writes the shots one after the other; gives who is where in each frame, and the frames at which shots begin."""
    begins = [sum(map(len, shots[:number])) for number in range(len(shots))]
    everybody = [placed for shot in shots for placed in shot]
    numbers = [number for number, shot in enumerate(shots) for _ in shot]
    write_frames(path, (drawn(placed, frame, numbers[frame]) for frame, placed in enumerate(everybody)))
    return everybody, begins


def write_frames(path: Path, pictures: Iterable[np.ndarray], pixel_format: str = "yuv420p") -> None:
    """Encodes BGR pictures of WIDTH by HEIGHT, nearly without loss."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"crf": "14", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = WIDTH, HEIGHT, pixel_format, 1
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        output.mux(stream.encode(None))


def still(seconds: float, *placed: Placed) -> Script:
    """Everybody stays where they are."""
    return [list(placed)] * round(seconds * RATE)


def moving(seconds: float, *paths: tuple[str, tuple[float, float], tuple[float, float]]) -> Script:
    """Everybody goes on a line from one place to another."""
    frames = round(seconds * RATE)
    return [
        [
            Placed(
                name, *(begin + (end - begin) * number / max(1, frames - 1) for begin, end in zip(a, b, strict=True))
            )
            for name, a, b in paths
        ]
        for number in range(frames)
    ]
