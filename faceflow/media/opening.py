"""The one door through which media files are opened for reading.

FFmpeg opens any name that it is given: a name like `concat:a|b` or `http:x.mp4` is a protocol, and a playlist that is
called `.mp4` makes it read other files. So every open goes through here: the path is made absolute and prefixed with
`file:` (then no character of a name means anything), only demuxers of plain containers are allowed, no protocol but
`file` is, and decoders refuse pictures beyond `max_pixels` before they allocate them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard, TypeVar, cast

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from faceflow.errors import MediaError

DEMUXERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf")
"""FFmpeg's names of the containers that are read. None of them opens another file."""

SEEKABLE_CONTAINERS = frozenset({"mov", "matroska"})
"""Containers with an index of exact timestamps: a seek lands on the frame that was asked for."""

_READ_TIMEOUT_S = 60.0
_HOLE_STEP_BYTES, _MORE_TRIES = 32 * 1024, 16
_READ_BYTES = 1 << 20
_NEVER_OF_THE_DISK = frozenset({errno.EPERM, errno.EAGAIN})
_Kind = TypeVar("_Kind", bound=Stream)


def media_name(path: Path) -> str:
    """The path as FFmpeg must be given it: absolute, `file:` in front, so that no part of a name is a protocol."""
    return "file:" + os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links, absolute() keeps `..`


@contextmanager
def open_media(path: Path, *, max_pixels: int, timeout_s: float = _READ_TIMEOUT_S) -> Iterator[InputContainer]:
    """Opens a media file for reading and closes it.

    Args:
        path: local file, whatever its name.
        max_pixels: largest picture that a decoder may allocate, in pixels.
        timeout_s: longest time that opening, and any one read, may take, seconds.

    Raises:
        av.error.FFmpegError: the file cannot be opened; `probe` turns this into the user's words.
    """
    options = {
        "format_whitelist": ",".join(DEMUXERS),
        "protocol_whitelist": "file",
        "max_pixels": str(max_pixels),
    }
    with av.open(
        media_name(path), options=options, timeout=(timeout_s, timeout_s), metadata_errors="replace"
    ) as container:
        yield container


def packets_of(container: InputContainer, *streams: _Kind) -> Iterator[Packet[_Kind]]:
    """The packets of some tracks in the order of the file, at its end an empty one for each track.

    Transport and program streams may announce a track in their middle. PyAV has no object for such a track, gives none
    of its packets (see `track_changes`), and fails at the end, after the empty packets of all others. Where a transport
    stream has a hole (64 KiB and more without a packet), FFmpeg says "try again" and stands behind that stretch.

    Raises:
        av.error.FFmpegError: the file cannot be read on.
    """
    packets = cast("Iterator[Packet[_Kind]]", container.demux(*streams))
    tries_left = container.size // _HOLE_STEP_BYTES + _MORE_TRIES
    while True:
        try:
            packet = next(packets, None)
        except av.error.BlockingIOError:
            tries_left -= 1
            if tries_left < 0:
                raise
            packets = cast("Iterator[Packet[_Kind]]", container.demux(*streams))
            continue
        except IndexError:
            return
        if packet is None:
            return
        yield packet


def prepare_decoder(stream: VideoStream, *, max_pixels: int, threads: int, finish_all: bool = True) -> None:
    """Sets a video stream's decoder up before its first packet.

    Args:
        stream: the video track.
        max_pixels: largest picture that the decoder may allocate.
        threads: of the decoder; does not change the pictures.
        finish_all: whether frames that no other is predicted from get their block edges smoothed too.
    """
    context = stream.codec_context
    context.options = {"max_pixels": str(max_pixels), **({} if finish_all else {"skip_loop_filter": "noref"})}
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"


def decoder_pixels(side_px: int) -> int:
    """Largest picture that a decoder may allocate for videos with sides up to `side_px`; decoders add margins."""
    return (side_px + 256) ** 2


def container_family(name: str) -> str:
    """The first of FFmpeg's names for a demuxer: `mov` for `mov,mp4,m4a,3gp,3g2,mj2`."""
    return name.split(",", 1)[0]


def is_of_the_disk(error: av.error.FFmpegError) -> TypeGuard[OSError]:
    """Whether reading itself failed, and not what was read makes no sense.

    Demuxers, decoders and muxers have a plain -1 for damage, which is also the number of "operation not permitted". A
    file that may not be read says "permission denied" instead. Demuxers also say "input/output error" where an element
    ends before its time; so a file of which this is said is read once more, without them.
    """
    if not isinstance(error, OSError) or error.errno in _NEVER_OF_THE_DISK:
        return False
    return error.errno != errno.EIO or not _can_be_read(error.filename)


def _can_be_read(name: str | None) -> bool:
    """Whether the disk gives every byte of a file that was opened as `name`."""
    if name is None:
        return False
    try:
        with Path(name.removeprefix("file:")).open("rb", buffering=0) as file:
            while file.read(_READ_BYTES):
                pass
    except OSError:
        return False
    return True


def unreadable(path: Path, error: OSError) -> MediaError:
    """The user's words for an operating system error on an input file."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MediaError("media.missing", f"{path} does not exist.", "Check the path and its spelling.")
    if isinstance(error, IsADirectoryError):
        return MediaError(
            "media.is_directory", f"{path} is a folder, not a file.", "Choose a video file in the folder."
        )
    return MediaError(
        "media.unreadable",
        f"{path} cannot be read: {error.strerror or error}.",
        "Check the file's permissions and that its disk is connected.",
    )
