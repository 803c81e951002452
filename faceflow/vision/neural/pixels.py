"""Between crops and tensors: uint8 (S, S, 3) BGR on our side, float32 (3, S, S) RGB on that of the networks.

    tensor = (RGB / 255 - mean) / std          and back:  RGB = 255 (tensor std + mean)

Pixel boost takes a larger crop through a network of fixed size: k x k sub-images, of every k-th row and column each, go
through it and are interleaved again, so that every one of them shows the whole face.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.vision.runtime.scratch import scratch_array
from faceflow.vision.shapes import Picture

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]


def to_tensor(pictures: Sequence[Picture], mean: Triple, std: Triple) -> Floats:
    """float32 (N, 3, S, S), RGB, from uint8 (S, S, 3), BGR, of one size; a fourth channel is left out.

    It lies in memory that the next call of this thread takes again: tensors are large, and new memory costs as much as
    what is done with it.
    """
    rows, columns = pictures[0].shape[:2]
    tensor = scratch_array("tensor", (len(pictures), 3, rows, columns))
    tables = _tables(mean, std)
    for number, picture in enumerate(pictures):
        for channel in range(3):
            cv2.LUT(cv2.extractChannel(picture, 2 - channel), tables[channel], dst=tensor[number, channel])
    return tensor


@lru_cache(maxsize=16)
def _tables(mean: Triple, std: Triple) -> list[Floats]:
    """What each of the 256 codes becomes in each of R, G and B."""
    codes = np.arange(256) / 255
    return [np.asarray((codes - mean[channel]) / std[channel], np.float32) for channel in range(3)]


def to_pictures(tensor: Floats, mean: Triple, std: Triple) -> list[Picture]:
    """uint8 (S, S, 3), BGR, rounded and clipped, from float32 (N, 3, S, S), RGB. What is not a number is black."""
    pictures = []
    for planes in tensor:
        channels = []
        for channel in (2, 1, 0):
            plane = np.ascontiguousarray(planes[channel])
            channels.append(cv2.addWeighted(plane, 255 * std[channel], plane, 0, 255 * mean[channel], dtype=cv2.CV_8U))
        pictures.append(np.asarray(cv2.merge(channels), np.uint8))
    return pictures


def split(picture: Picture, factor: int) -> list[Picture]:
    """The `factor` x `factor` sub-images of a crop whose side is a multiple of `factor`."""
    return [picture[row::factor, column::factor] for row in range(factor) for column in range(factor)]


def joined(parts: Sequence[Picture], factor: int) -> Picture:
    """The crop of which these are the sub-images: the inverse of `split`."""
    if factor == 1:
        return parts[0]
    rows, columns = parts[0].shape[:2]
    whole = np.empty((rows * factor, columns * factor, *parts[0].shape[2:]), np.uint8)
    for number, part in enumerate(parts):
        whole[number // factor :: factor, number % factor :: factor] = part
    return whole
