"""Refuses a film whose tracks change in the middle of the file, which demuxers lose: they list what its beginning has.

What the tracks of the whole file are is read from the file itself where the container may begin a track anywhere
(transport streams), and from the packets' times where several videos are listed.
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
from faceflow.media.opening import container_family, is_of_the_disk, open_media, packets_of, unreadable
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
        MediaError: `media.track_changes`, `media.unreadable`.
    """
    if container_family(container.format.name) == "mpegts":
        try:
            spans = transport_spans(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if any(span.number == film.id for span in spans):
            return judge_spans(path, spans, film.id, {stream.id: _is_described(stream) for stream in container.streams})
    videos = [stream for stream in container.streams.video if not stream.disposition & _NO_FILM or stream is film]
    if len(videos) < 2:
        return ()
    listed = dict.fromkeys((stream.index for stream in container.streams), True)
    return judge_spans(path, _packet_spans(path, videos, max_pixels), film.index, listed)


def _is_described(stream: Stream) -> bool:
    """Whether the demuxer saw packets of a sound track early enough to know what they are."""
    return not isinstance(stream, AudioStream) or stream.sample_rate > 0


def _packet_spans(path: Path, videos: list[VideoStream], max_pixels: int) -> list[TrackSpan]:
    """Reads the packets of several videos; nothing is decoded."""
    spans: dict[int, TrackSpan] = {}
    with open_media(path, max_pixels=max_pixels) as container:
        names = {stream.index: codec_name(stream) for stream in videos}
        try:
            for packet in packets_of(container, *(container.streams[index] for index in names)):
                ticks = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or packet.is_discard or ticks is None:
                    continue
                now_s = float(ticks * packet.time_base)
                index = packet.stream_index
                spans.setdefault(index, TrackSpan("video", names[index], index)).positions.append(now_s)
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):
                raise
    for span in spans.values():
        span.positions = array("d", sorted(span.positions))
        span.first_s, span.last_s = span.positions[0], span.positions[-1]
    return list(spans.values())
