"""One look at a frame, whatever it is made of: an overview for detection, patches at full sharpness for the rest.

Analysers and trackers never need a whole frame in BGR. They ask a view for a small overview and for patches around
faces; `PictureView` cuts them from a BGR picture, `NativeView` from the planes of a decoded frame, converting only
the pixels that are asked for. Coordinates are always those of the full frame.
"""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from faceflow.media.colour import crop_bgr, decimated, small_bgr
from faceflow.media.conversion import to_native
from faceflow.media.facts import VideoInfo
from faceflow.media.native import NativeFrame
from faceflow.media.planes import native_frame
from faceflow.media.thumbnail import upright_bgr
from faceflow.vision.shapes import Picture


class PictureView:
    """A view of a BGR picture (uint8 (H, W, 3))."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self._picture.shape[1]), int(self._picture.shape[0])

    def overview(self, long_side_px: int) -> tuple[Picture, float]:
        """The picture itself, or a smaller copy (see `FrameView`)."""
        width, height = self.size
        scale = min(1.0, long_side_px / max(width, height))
        if scale == 1.0:
            return self._picture, 1.0
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(self._picture, small, interpolation=cv2.INTER_AREA), np.uint8), scale

    def patch(self, matrix: NDArray[np.float32], side_px: int) -> Picture:
        """The patch that `matrix` shows (see `FrameView`); beyond the border the border's pixels go on."""
        source, adjusted = decimated(self._picture, matrix, (side_px, side_px))
        return np.asarray(
            cv2.warpAffine(
                source, adjusted, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ),
            np.uint8,
        )


class NativeView:
    """A view of a decoded frame; converts only what is asked for."""

    def __init__(self, frame: NativeFrame) -> None:
        self._frame = frame

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._frame.width_px, self._frame.height_px

    def overview(self, long_side_px: int) -> tuple[Picture, float]:
        """A small converted copy (see `FrameView`)."""
        return small_bgr(self._frame, long_side_px)

    def patch(self, matrix: NDArray[np.float32], side_px: int) -> Picture:
        """The patch that `matrix` shows (see `FrameView`), straight from the planes."""
        return crop_bgr(self._frame, matrix, side_px)


class DecodedView(NativeView):
    """A view of a frame as a decoder gives it, upright: for looking at a target before it is known to fit.

    Formats that the encoders cannot take are converted as the entrance would.
    """

    def __init__(self, frame: VideoFrame, video: VideoInfo) -> None:
        self._decoded, self._video = frame, video
        native, seen = to_native(frame, video)
        super().__init__(native_frame(native, 0, 0, seen, writable=False))

    def overview(self, long_side_px: int) -> tuple[Picture, float]:
        """A small converted copy (see `FrameView`), made by the decoder's own library in one quick step."""
        return upright_bgr(self._decoded, self._video, long_side_px)
