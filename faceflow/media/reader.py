"""Reads ranges of frames, exactly those of the index, upright and in their own pixel format.

A range is found by seeking to a key frame at or before it and dropping decoded frames until the range begins;
packets are never cut, because frames of open GOPs are lost that way. On the way to the range, frames that no other
is predicted from are not decoded. Demuxers seek by decoding time and may land late, and some streams need more than
one key frame to recover: then the reader goes back further, in the end to the start of the file. Containers without
an exact index (MPEG-TS, AVI) are always decoded from the start, frame i being the i-th that the decoder shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceflow.errors import ExactnessError, FaceflowError
from faceflow.media.decoding import Tally, decode_stream
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.native import NativeFrame
from faceflow.media.opening import (
    SEEKABLE_CONTAINERS,
    container_family,
    decoder_pixels,
    open_media,
    prepare_decoder,
    unreadable,
)
from faceflow.media.planes import native_frame, presented_size
from faceflow.media.refusals import changed

__all__ = ["FrameReader", "presented_size", "read_decoded"]

_KEYS_BACK = (0, 1, 3, 8)


class FrameReader:
    """Reads frames of one video by number.

    with FrameReader(path, media, index) as reader:
        for frame in reader.read(first=120, frames=60):
            ...

    Args:
        path: the video.
        media: what `probe` found of it.
        index: its frames.
        decode_threads: threads of the decoder; does not change the pictures.
    """

    def __init__(self, path: Path, media: MediaInfo, index: FrameIndex, decode_threads: int = 1) -> None:
        self._path = path
        self._media = media
        self._index = index
        self._threads = decode_threads

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between reads."""

    def read(self, first: int, frames: int, *, writable: bool = True) -> Iterator[NativeFrame]:
        """Yields frames `first .. first + frames - 1`.

        Their planes belong to the caller, who may change them and hand the frame to an encoder; with `writable` off
        they are only to be looked at, which saves a copy.

        Raises:
            ValueError: the range is not inside the index.
            MediaError: the file cannot be opened any more, or has another size: `media.changed`.
            ExactnessError: `fault.exactness`, the file does not give the frames that its index lists.
        """
        decoded = read_decoded(self._path, self._media, self._index, first, frames, self._threads)
        for number, frame in decoded:
            yield native_frame(frame, number, int(self._index.pts[number]), self._media.video, writable=writable)


def read_decoded(
    path: Path, media: MediaInfo, index: FrameIndex, first: int, frames: int, decode_threads: int = 1
) -> Iterator[tuple[int, VideoFrame]]:
    """Yields (number, frame) for frames `first .. first + frames - 1` as the decoder gives them. Raises as `read`."""
    end = first + frames
    if first < 0 or frames < 0 or end > index.frames:
        raise ValueError(f"frames {first} to {end} are not inside the {index.frames} frames of {path}")
    wanted = first
    for start in _starts(media, index, first):
        if wanted == end:
            return
        for number, frame in _decode_from(path, media, index, start, wanted, decode_threads):
            if number < wanted:
                continue
            if number > wanted:
                break
            yield number, frame
            wanted += 1
            if wanted == end:
                return
    if wanted < end:
        raise _not_shown(path, media, wanted)


def _not_shown(path: Path, media: MediaInfo, frame: int) -> FaceflowError:
    """Whose fault it is as far as can be seen here; stages compare the content too (`stages.unchanged`)."""
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        return unreadable(path, error)
    if size_bytes != media.size_bytes:
        return changed(path)
    return ExactnessError(
        "fault.exactness",
        f"Frame {frame} of {path} is in the index, but the decoder did not output it this time.",
        "This is a bug in faceflow; please report it with the log.",
        frame=frame,
    )


def _starts(media: MediaInfo, index: FrameIndex, first: int) -> Iterator[int | None]:
    """Key frames to start from, nearest first; None is the start of the file, with every frame decoded."""
    if container_family(media.container) in SEEKABLE_CONTAINERS and not index.left_out.get("undecodable"):
        keys = np.flatnonzero(index.key[: first + 1])
        for back in _KEYS_BACK:
            if back < len(keys) and keys[-1 - back] > 0:
                yield int(keys[-1 - back])
        if first > 0:
            yield 0
    yield None


def _decode_from(
    path: Path, media: MediaInfo, index: FrameIndex, start: int | None, wanted: int, threads: int
) -> Iterator[tuple[int, VideoFrame]]:
    max_pixels = decoder_pixels(max(media.video.coded_width_px, media.video.coded_height_px))
    with ExitStack() as stack:
        try:
            container: InputContainer = stack.enter_context(open_media(path, max_pixels=max_pixels))
        except OSError as error:
            raise unreadable(path, error) from error
        except av.error.FFmpegError:
            return  # no video any more; the caller says so
        stream = container.streams[media.video.stream_index]
        if not isinstance(stream, VideoStream) or stream.time_base != index.time_base:
            return  # another file than the one that was indexed
        prepare_decoder(stream, max_pixels=max_pixels, threads=threads)
        if start is None:
            yield from _from_the_start(container, stream, media, index)
            return
        try:
            if start > 0:
                container.seek(int(index.pts[start]), stream=stream)
        except av.error.FFmpegError:
            return  # this start is no use; the caller takes the next one
        yield from _after_seek(container, stream, index, wanted)


def _from_the_start(
    container: InputContainer, stream: VideoStream, media: MediaInfo, index: FrameIndex
) -> Iterator[tuple[int, VideoFrame]]:
    """Numbers frames by their order; ends where an exact container shows one at another time than the index."""
    exact = container_family(media.container) in SEEKABLE_CONTAINERS
    for number, frame in enumerate(decode_stream(container, stream, Tally())):
        if number >= index.frames or (exact and frame.pts not in {None, int(index.pts[number])}):
            return
        yield number, frame


def _after_seek(
    container: InputContainer, stream: VideoStream, index: FrameIndex, wanted: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Numbers frames by their pts, from the first key frame on; ends at a frame that the index does not know."""
    begun = False
    for frame in decode_stream(container, stream, Tally(), wanted_pts=int(index.pts[wanted])):
        begun = begun or frame.key_frame
        if not begun:
            continue
        number = -1 if frame.pts is None else int(np.searchsorted(index.pts, frame.pts))
        if not 0 <= number < index.frames or index.pts[number] != frame.pts:
            return
        yield number, frame
