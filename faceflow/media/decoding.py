"""One way of decoding a video track, shared by everything that must see the same frames.

Index, reader and transcode must agree on which frames exist. So they share this loop: packets in file order,
one decoder, damaged packets passed over and counted, never a different setting here and there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceflow.media.opening import is_of_the_disk, packets_of

_SKIPPING_DECODERS = frozenset({"h264", "hevc"})
"""Decoders that can tell from a packet alone whether other frames need its picture."""


@dataclass(slots=True)
class Tally:
    """What came out of the packets of one track.

    Attributes:
        packets: packets that were meant to be shown.
        discarded: packets that the container marks as not to be shown (edit lists).
        undecodable: packets that the decoder refused.
        before_first_key: packets ahead of the first one where decoding can start.
        concealed: frames that are shown although the decoder had to make up part of them.
        frames: frames that the decoder shows.
        cut_short: why the container could not be read to its end, or None.
    """

    packets: int = 0
    discarded: int = 0
    undecodable: int = 0
    before_first_key: int = 0
    concealed: int = 0
    frames: int = 0
    cut_short: str | None = None
    _key_seen: bool = False


def decode_stream(
    container: InputContainer,
    stream: VideoStream,
    tally: Tally,
    slots: list[int] | None = None,
    *,
    wanted_pts: int | None = None,
) -> Iterator[VideoFrame]:
    """Yields every frame that the decoder shows, from where the container stands to its end.

    Args:
        container: open container, at its start or just after a seek.
        stream: the video track.
        tally: is filled while frames are yielded.
        slots: takes the dts of every packet that is meant to be shown, where the container has one.
        wanted_pts: frames before this one, in ticks, may be left out, as far as no other frame is predicted from them.
    """
    packets = packets_of(container, stream)
    context = stream.codec_context
    skips = wanted_pts is not None and context.name in _SKIPPING_DECODERS and context.thread_count == 1
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):  # the disk, not the data
                raise
            tally.cut_short = error.strerror or "invalid data"
            packet = None
        if packet is None:
            return
        if skips and wanted_pts is not None:
            early = packet.pts is not None and packet.pts < wanted_pts
            context.skip_frame = "NONREF" if early else "DEFAULT"
        if packet.size:
            if packet.is_discard:
                tally.discarded += 1
            else:
                tally.packets += 1
                if slots is not None and packet.dts is not None:
                    slots.append(packet.dts)
                tally._key_seen = tally._key_seen or packet.is_keyframe
                tally.before_first_key += not tally._key_seen
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # a decoder reads no disk: whatever it says is about the data
            tally.undecodable += 1  # invalid, not implemented, or of a size that is not allocated
            continue
        for frame in frames:
            tally.frames += 1
            tally.concealed += frame.is_corrupt
            yield frame
