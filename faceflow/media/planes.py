"""Between FFmpeg's frames and native planes: bit by bit in both directions.

A decoded frame may lie on its side or have odd sides; a `NativeFrame` is upright and even. The order matters for
subsampled chroma: first the last row and column are repeated until every chroma sample has its full block of luma
samples, then the planes are turned and mirrored. The other way round, chroma would lie half a block off.

Whole frames are copied once at most. To look at, a frame that is upright and even is the decoder's own memory, which
nobody may change, since other frames are predicted from it. To change, it is copied into a frame of FFmpeg's that goes
to the encoder afterwards as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from av.video.frame import VideoFrame

from faceflow.media.facts import VideoInfo
from faceflow.media.formats import NATIVE_FORMATS, plane_format
from faceflow.media.native import NativeFrame, Plane


def presented_size(video: VideoInfo) -> tuple[int, int]:
    """Width and height in pixels of the frames that the reader gives: upright, odd sides of subsampled formats + 1."""
    shift_x, shift_y = chroma_shifts(video.pixel_format)
    width = _even(video.coded_width_px, shift_x)
    height = _even(video.coded_height_px, shift_y)
    return (height, width) if video.rotation_degrees in {90, 270} else (width, height)


def chroma_shifts(pixel_format: str) -> tuple[int, int]:
    """log2 of the horizontal and vertical chroma subsampling of a native format."""
    if "420" in pixel_format:
        return 1, 1
    return (1, 0) if "422" in pixel_format else (0, 0)


def native_frame(frame: VideoFrame, number: int, pts: int, video: VideoInfo, *, writable: bool = True) -> NativeFrame:
    """A decoded frame's planes, even and upright.

    Args:
        frame: decoded frame in a native format.
        number: its number in the index.
        pts: its timestamp in ticks of the index's time base.
        video: tells the orientation and the colour tags.
        writable: the planes belong to the caller; otherwise they are only to be looked at.

    Raises:
        ValueError: the frame's format is not native (`transcode` comes first).
    """
    name = frame.format.name
    if name not in NATIVE_FORMATS:
        raise ValueError(f"{name} frames are converted at the entrance, they cannot be read natively")
    shift_x, shift_y = chroma_shifts(name)
    if video.rotation_degrees in {90, 270} and shift_x != shift_y:
        raise ValueError(f"{name} frames on their side are converted at the entrance")
    depth = frame.format.components[0].bits
    planes = [_rows(frame, index, depth)[:, : frame.planes[index].width] for index in range(len(frame.planes))]
    planes[0] = _pad(planes[0], _even(frame.height, shift_y), _even(frame.width, shift_x))
    planes = [_upright(plane, video) for plane in planes]
    for plane in planes:
        plane.flags.writeable = False
    seen = NativeFrame(number, pts, planes, name, depth, shift_x, shift_y, video.colour)
    return writable_copy(seen) if writable else seen


def writable_copy(native: NativeFrame) -> NativeFrame:
    """The same frame in memory of its own, which an encoder takes as it is."""
    picture = video_frame(native)
    planes = [_rows(picture, index, native.bit_depth)[:, : plane.shape[1]] for index, plane in enumerate(native.planes)]
    return replace(native, planes=planes, picture=picture)


def video_frame(native: NativeFrame) -> VideoFrame:
    """A new frame for an encoder or filter with exactly the planes of `native`; its time is left to the caller."""
    frame = VideoFrame(native.width_px, native.height_px, plane_format(native.pixel_format))
    for index, plane in enumerate(native.planes):
        rows = _rows(frame, index, native.bit_depth)
        rows[:, : plane.shape[1]] = plane
    return frame


def _even(size: int, shift: int) -> int:
    return size + (size & 1) if shift else size


def _rows(frame: VideoFrame, index: int, depth: int) -> Plane:
    """A view (rows, padded columns) of one plane of an FFmpeg frame."""
    plane = frame.planes[index]
    raw = memoryview(plane)
    flat: Plane = np.frombuffer(raw, np.uint8) if depth == 8 else np.frombuffer(raw, np.uint16)
    stride = plane.line_size // flat.itemsize
    return flat[: stride * plane.height].reshape(plane.height, stride)


def _pad(plane: Plane, rows: int, columns: int) -> Plane:
    if plane.shape == (rows, columns):
        return plane
    rows_more, columns_more = rows - plane.shape[0], columns - plane.shape[1]
    taller: Plane = np.concatenate([plane, plane[-1:].repeat(rows_more, axis=0)], axis=0)
    return np.concatenate([taller, taller[:, -1:].repeat(columns_more, axis=1)], axis=1)


def _upright(plane: Plane, video: VideoInfo) -> Plane:
    if not video.rotation_degrees and not video.mirrored:
        return plane
    turned: Plane = np.rot90(plane, -(video.rotation_degrees // 90))
    if video.mirrored:
        turned = turned[:, ::-1]
    return turned.copy(order="C")
