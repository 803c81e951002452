"""Which of a file's video tracks is the film. It is decided by what the tracks are, never by which comes first.

Covers, posters and previews are video tracks too, and not every program marks them: a Matroska cover may be the
first track and the default one, a QuickTime poster comes before its film. So where there is a choice, the beginning
of the file is read once and the packets of every candidate are counted (nothing is decoded). A track of a single
picture loses to one that moves, a short one to a long one, a slide show to a film; only between tracks that are
alike do the default mark, then the size of the picture decide, and at last the order.

A file whose only picture is a still one has no video at all.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from faceflow.errors import MediaError
from faceflow.media.codecs import STILL_CODECS, codec_name
from faceflow.media.opening import open_media, packets_of
from faceflow.settings import LimitSettings

_NEVER = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_MOST_PACKETS = 4000
_ENOUGH_PACKETS = 250
_ALIKE_IN_LENGTH = Fraction(1, 2)
_ALIKE_IN_FRAMES = Fraction(1, 10)
_TAGGED_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(slots=True)
class _Seen:
    """What the beginning of the file holds of one track: packets with data, first and last time in seconds."""

    packets: int = 0
    first_s: Fraction | None = None
    last_s: Fraction | None = None


def main_video(path: Path, container: InputContainer, max_pixels: int, limits: LimitSettings) -> VideoStream:
    """The track of `container` that is the film.

    Args:
        path: the file; it is opened a second time where packets have to be counted.
        container: the open file, which stays where it is.
        max_pixels: largest picture that a decoder may allocate.
        limits: how long reading may take.

    Raises:
        MediaError: `media.no_video`, there is no video track, or only a still picture.
    """
    videos = [stream for stream in container.streams.video if not stream.disposition & _NEVER]
    if not videos:
        raise MediaError(
            "media.no_video",
            f"{path} has no video track.",
            "Choose a file with a video track; sound or a cover picture alone cannot be swapped.",
        )
    if len(videos) == 1 and codec_name(videos[0]) not in STILL_CODECS:
        return videos[0]
    seen = _look(path, videos, max_pixels, limits)
    if all(_is_still(stream, seen[stream.index]) for stream in videos):
        raise MediaError(
            "media.no_video",
            f"{path} contains a still picture, but no video.",
            "Choose the video itself; to swap a picture, use a JPEG or PNG file.",
        )
    return _film(videos, seen)


def _look(path: Path, videos: list[VideoStream], max_pixels: int, limits: LimitSettings) -> dict[int, _Seen]:
    """Counts packets until every track has shown enough, at most as far as the bounds go."""
    seen = {stream.index: _Seen() for stream in videos}
    deadline_s = time.monotonic() + limits.probe_timeout_s
    with open_media(path, max_pixels=max_pixels, timeout_s=limits.probe_timeout_s) as container:
        packets = packets_of(container, *(container.streams[index] for index in seen))
        for number in range(_MOST_PACKETS):
            try:
                packet = next(packets, None)
            except av.error.InvalidDataError:  # what can be read before it decides
                break
            if packet is None or time.monotonic() > deadline_s:
                break
            if packet.size and not packet.is_discard:
                _add(seen[packet.stream_index], packet.pts if packet.pts is not None else packet.dts, packet.time_base)
            if number % _ENOUGH_PACKETS == 0 and all(track.packets >= _ENOUGH_PACKETS for track in seen.values()):
                break
    return seen


def _add(track: _Seen, ticks: int | None, time_base: Fraction) -> None:
    track.packets += 1
    if ticks is not None:
        now_s = ticks * time_base
        track.first_s = now_s if track.first_s is None else min(track.first_s, now_s)
        track.last_s = now_s if track.last_s is None else max(track.last_s, now_s)


def _is_still(stream: VideoStream, seen: _Seen) -> bool:
    return seen.packets <= 1 and codec_name(stream) in STILL_CODECS


def _film(videos: list[VideoStream], seen: dict[int, _Seen]) -> VideoStream:
    if len(moving := [stream for stream in videos if seen[stream.index].packets > 1]) > 0:
        videos = moving
    else:
        videos = [stream for stream in videos if not _is_still(stream, seen[stream.index])]
    most = max(seen[stream.index].packets for stream in videos)
    videos = [stream for stream in videos if seen[stream.index].packets >= most * _ALIKE_IN_FRAMES]
    lengths = {stream.index: _length_s(stream, seen[stream.index]) for stream in videos}
    longest = max(lengths.values())
    videos = [stream for stream in videos if lengths[stream.index] >= longest * _ALIKE_IN_LENGTH]
    return max(videos, key=_rank)  # the first of equals


def _rank(stream: VideoStream) -> tuple[bool, bool, int]:
    context = stream.codec_context
    pixels = 0 if context is None else context.width * context.height
    default = bool(stream.disposition & Disposition.default)
    return not stream.disposition & Disposition.dependent, default, pixels


def _length_s(stream: VideoStream, seen: _Seen) -> Fraction:
    """How long the track states to be; where it states nothing, how much of it was seen."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    if (tagged := _tagged_s(stream)) is not None:
        return tagged
    if seen.first_s is None or seen.last_s is None:
        return Fraction(0)
    return seen.last_s - seen.first_s


def _tagged_s(stream: Stream) -> Fraction | None:
    """Matroska states a track's duration in a tag, as 00:01:30.040000000."""
    found = _TAGGED_DURATION.fullmatch(stream.metadata.get("DURATION", "").strip())
    if found is None:
        return None
    return int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
