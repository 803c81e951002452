"""Refuses a film whose tracks change in the middle of the file, which demuxers lose: they list what its beginning has.

What tracks the whole file has is read from the file itself where the container may begin a track anywhere (transport
streams, Flash video) or describe it anew (MP4 and MOV), and from the packets where several videos are listed.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from faceflow.media.codecs import codec_name
from faceflow.media.flv_tags import flash_spans
from faceflow.media.opening import container_family, is_of_the_disk, open_media, packets_of, unreadable
from faceflow.media.refusals import joined_files
from faceflow.media.sample_entries import check_sample_entries
from faceflow.media.track_spans import TrackSpan, judge_spans
from faceflow.media.transport_stream import transport_spans

_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent


def check_tracks(path: Path, container: InputContainer, film: VideoStream, max_pixels: int) -> tuple[str, ...]:
    """Looks at the tracks of the whole file.

    Args:
        path: the file.
        container: the open file, which stays where it is.
        film: its track that was taken for the film.
        max_pixels: largest picture that a decoder may allocate.

    Returns:
        Notes for the user on tracks that begin late or go on in another.

    Raises:
        MediaError: `media.track_changes`, `media.size_changes`, `media.picture_changes`, `media.unreadable`.
    """
    family = container_family(container.format.name)
    if family == "mpegts":
        try:
            spans = transport_spans(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if any(span.number == film.id for span in spans):
            return judge_spans(path, spans, film.id, {stream.id: _is_described(stream) for stream in container.streams})
    if family == "flv":
        return _check_flash(path)
    if family == "mov":
        try:
            check_sample_entries(path, film.id, {stream.id for stream in container.streams.audio})
        except OSError as error:
            raise unreadable(path, error) from error
    videos = [stream for stream in container.streams.video if not stream.disposition & _NO_FILM or stream is film]
    if len(videos) < 2:
        return ()
    listed = dict.fromkeys((stream.index for stream in container.streams), True)
    spans = _packet_spans(path, videos, max_pixels, by_place=family == "mpeg")
    return judge_spans(path, spans, film.index, listed)


def _check_flash(path: Path) -> tuple[str, ...]:
    try:
        spans, another_follows = flash_spans(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if another_follows:
        raise joined_files(path)
    film = next((span.number for span in spans if span.kind == "video"), 0)
    return judge_spans(path, spans, film, dict.fromkeys((span.number for span in spans), True))


def _is_described(stream: Stream) -> bool:
    """Whether the demuxer saw packets of a sound track early enough to know what they are."""
    return not isinstance(stream, AudioStream) or stream.sample_rate > 0


def _packet_spans(path: Path, videos: list[VideoStream], max_pixels: int, *, by_place: bool) -> list[TrackSpan]:
    """Reads the packets of several videos; nothing is decoded.

    `by_place`: packets are compared by where they lie, because the container interleaves them and its clock may jump;
    else by their times, because packets at the same time may lie far apart.
    """
    spans: dict[int, TrackSpan] = {}
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    with open_media(path, max_pixels=max_pixels) as container:
        names = {stream.index: codec_name(stream) for stream in videos}
        try:
            packets = packets_of(container, *(container.streams[index] for index in names))
            for number, packet in enumerate(packets):
                ticks = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or packet.is_discard or (ticks is None and not by_place):
                    continue
                index = packet.stream_index
                now_s = None if ticks is None else float(ticks * packet.time_base)
                span = spans.setdefault(index, TrackSpan("video", names[index], index))
                span.positions.append(number if by_place or now_s is None else now_s)
                if now_s is not None:
                    first[index], last[index] = min(now_s, first.get(index, now_s)), max(now_s, last.get(index, now_s))
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):
                raise
    begin_s = min(first.values(), default=0.0)
    for index, span in spans.items():
        span.positions = array("d", sorted(span.positions))
        if index in first:
            span.first_s, span.last_s = first[index] - begin_s, last[index] - begin_s
    return list(spans.values())
