"""Five points of a face onto a template: the similarity that networks were trained with.

A template says where eyes (left and right in the picture), nose and corners of the mouth lie, as shares of the crop's
side. The matrix is the least-squares similarity without reflection (S. Umeyama, "Least-squares estimation of
transformation parameters between two point patterns", 1991); in the plane that is one complex division, because a
similarity is z -> turn z + offset. It equals what `insightface.utils.face_align` computes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceflow.media.colour import decimated
from faceflow.vision.model_catalogue import Template
from faceflow.vision.shapes import Picture

Floats = NDArray[np.float32]

TEMPLATES: dict[Template, NDArray[np.float64]] = {
    name: np.array(points, np.float64).reshape(5, 2)
    for name, points in {
        Template.ARCFACE_112_V1: (
            *(0.35473214, 0.45658929, 0.64526786, 0.45658929, 0.5, 0.61154464),
            *(0.37913393, 0.776875, 0.62086607, 0.776875),
        ),
        Template.ARCFACE_112_V2: (
            *(0.34191607, 0.46157411, 0.65653393, 0.45983393, 0.500225, 0.64050536),
            *(0.37097589, 0.82469196, 0.63151696, 0.82325089),
        ),
        Template.ARCFACE_128: (
            *(0.36167656, 0.40387734, 0.63696719, 0.40235469, 0.50019687, 0.56044219),
            *(0.38710391, 0.72160547, 0.61507734, 0.72034453),
        ),
        Template.FFHQ_512: (
            *(0.37691676, 0.46864664, 0.62285697, 0.46912813, 0.50123859, 0.61331904),
            *(0.39308822, 0.72541100, 0.61150205, 0.72490465),
        ),
        Template.MTCNN_512: (
            *(0.36562865, 0.46733799, 0.63305391, 0.46585885, 0.50019127, 0.61942959),
            *(0.39032951, 0.77598822, 0.61178945, 0.77476328),
        ),
    }.items()
}
"""float64 (5, 2), shares of the crop's side. From the published code of InsightFace (arcface_112_v2, arcface_128),
FFHQ's mean face (ffhq_512), and the networks' own training code."""


def aligned(points: NDArray[np.floating], template: Template, side_px: int) -> Floats:
    """The matrix that brings a face's five points onto a template.

    Args:
        points: (5, 2), pixels.
        template: which one.
        side_px: side of the crop.

    Returns:
        float32 (2, 3), the points' picture -> crop.
    """
    here = np.asarray(points, np.float64) @ (1, 1j)
    there = TEMPLATES[template] * side_px @ (1, 1j)
    around = here - here.mean()
    spread = max(1e-9, float((np.abs(around) ** 2).sum()))
    turn = ((there - there.mean()) * around.conj()).sum() / spread
    offset = there.mean() - turn * here.mean()
    return np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag]], np.float32)


def seen_through(
    picture: NDArray[np.uint8],
    matrix: NDArray[np.floating],
    size: tuple[int, int],
    outside: int | None = None,
) -> NDArray[np.uint8]:
    """A picture through a matrix: bilinear, area-averaged first where it shrinks.

    Args:
        picture: uint8 (H, W) or (H, W, channels).
        matrix: (2, 3), picture -> result.
        size: width and height of the result.
        outside: the value beyond its border, which is quicker; None lets the border go on.
    """
    part, adjusted = decimated(picture, np.asarray(matrix, np.float64), size)
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(
        part, adjusted, size, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(outside or 0,) * 4
    )
    return np.asarray(warped, np.uint8)


def portrait_crop(picture: Picture, points: NDArray[np.floating], template: Template, side_px: int) -> Picture:
    """The aligned crop of a face in a picture: uint8 (side, side, 3), BGR."""
    return seen_through(picture, aligned(points, template, side_px), (side_px, side_px))


def after(second: NDArray[np.floating], first: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64 (2, 3): first the matrix `first`, then `second`."""
    return np.asarray(_square(second) @ _square(first))[:2]


def inverse(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64 (2, 3): the way back."""
    return np.asarray(np.linalg.inv(_square(matrix)))[:2]


def moved(points: NDArray[np.floating], matrix: NDArray[np.floating]) -> Floats:
    """float32 (N, 2): points through a matrix."""
    full = np.asarray(matrix, np.float64)
    return np.asarray(np.asarray(points, np.float64) @ full[:, :2].T + full[:, 2], np.float32)


def scale_of(matrix: NDArray[np.floating]) -> float:
    """Pixels of the result for one pixel of the picture."""
    return float(np.sqrt(abs(np.linalg.det(np.asarray(matrix, np.float64)[:, :2]))))


def _square(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.vstack([np.asarray(matrix, np.float64), [0.0, 0.0, 1.0]])
