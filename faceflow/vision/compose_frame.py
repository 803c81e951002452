"""Puts swapped crops back into a native frame, and touches nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceflow.media.native import NativeFrame
from faceflow.media.paste import paste
from faceflow.vision.faces_file import FaceFrame


def compose_frame(frame: NativeFrame, faces: Sequence[FaceFrame]) -> None:
    """Blends the faces of this frame into its planes, in place.

    Where faces overlap the larger one, which is usually nearer, lies on top. Samples outside the rectangles of the
    faces, and inside them where a mask is 0, stay bit-equal.
    """
    for face in sorted(faces, key=lambda one: (_size(one), *one.matrix.reshape(-1).tolist())):
        paste(frame, face.matrix, face.crop.pixels, face.crop.mask)


def _size(face: FaceFrame) -> float:
    """Area of the crop in frame pixels."""
    return float(face.crop.mask.size) / max(1e-9, abs(float(np.linalg.det(face.matrix[:, :2].astype(np.float64)))))
