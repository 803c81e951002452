"""Small copies of decoded frames for looking at the whole clip: cut detection and the scan for people.

They come straight from FFmpeg's frames, in any pixel format that decodes, before a job has decided whether it
transcodes.
"""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from faceflow.media.colour import small_bgr
from faceflow.media.conversion import hide_strange_matrix, swscale_sees, to_native
from faceflow.media.facts import VideoInfo
from faceflow.media.planes import native_frame

THUMBNAIL_SIZE_PX = (48, 27)
"""Width and height of the thumbnails by which cuts are found."""

_TURNS = {0: 0, 90: 3, 180: 2, 270: 1}  # clockwise degrees -> counter-clockwise quarter turns of numpy


def luma_thumbnail(frame: VideoFrame) -> NDArray[np.uint8]:
    """uint8 (27, 48), gray, of a decoded frame as it lies (not turned upright)."""
    if frame.format.name in {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"}:
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
        step = max(1, min(frame.width // (THUMBNAIL_SIZE_PX[0] * 4), frame.height // (THUMBNAIL_SIZE_PX[1] * 4)))
        small = cv2.resize(np.ascontiguousarray(rows[::step, ::step]), THUMBNAIL_SIZE_PX, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)
    hide_strange_matrix(frame)
    small_frame = frame.reformat(*THUMBNAIL_SIZE_PX, format="gray")
    return np.asarray(small_frame.to_ndarray(), np.uint8)


def upright_bgr(frame: VideoFrame, video: VideoInfo, long_side_px: int) -> tuple[NDArray[np.uint8], float]:
    """uint8 (h, w, 3), BGR, upright, and its scale (copy / frame, at most 1)."""
    if not swscale_sees(video):
        native, seen = to_native(frame, video)
        return small_bgr(native_frame(native, 0, 0, seen, writable=False), long_side_px)
    scale = min(1.0, long_side_px / max(frame.width, frame.height))
    width, height = (max(2, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
    picture = frame.reformat(width, height, format="bgr24").to_ndarray()
    picture = np.rot90(picture, _TURNS[video.rotation_degrees])
    if video.mirrored:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture, np.uint8), scale
