"""Which of the other tracks the output can hold, found out before anything of it is written.

A muxer believes a track's description when the track is added. That a rate, a channel count or a codec's own header is
missing or makes no sense it says later: with the header, with some packet, or at the very end; and since it keeps
packets back to put all tracks in order, it says so in the middle of the picture. By then nobody knows whose fault
it was, and the whole job is lost for a damaged second sound track. So the first packets of every track are written
alone first, to nowhere, and decoded where it is sound. A track that cannot be written as it is, is re-encoded where
it can be heard, and else left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from faceflow.media.codecs import codec_name
from faceflow.media.containers import OutputContainer as Container
from faceflow.media.opening import is_of_the_disk, packets_of

HIGHEST_RATE_HZ = 768_000
"""Samples a second beyond which a number is damage: resamplers make filters as long as the ratio of rates."""
MOST_CHANNELS = 64
_PACKETS = 8
_MOST_READ = 2_000


class Fitness(Enum):
    """What can be done with a track."""

    WRITABLE = "as it is"
    AUDIBLE = "decoded and encoded again"
    UNUSABLE = "nothing"


def rehearse(source: InputContainer, streams: Iterable[Stream], container: Container) -> dict[int, Fitness]:
    """Tries every track alone.

    Args:
        source: open container, at its start; it is read on.
        streams: its tracks that would be written.
        container: what is written.

    Returns:
        For each track by its index, what can be done with it. A track whose first packets are not found near the
        start of the file counts as writable.
    """
    tried = {stream.index: stream for stream in streams}
    packets = _first_packets(source, tried)
    return {index: _fitness(stream, packets[index], container) for index, stream in tried.items()}


def _fitness(stream: Stream, packets: Sequence[Packet[Stream]], container: Container) -> Fitness:
    if isinstance(stream, AudioStream):
        if not _is_described(stream):
            return Fitness.UNUSABLE
        if codec_name(stream) in container.audio and _is_writable(stream, packets, container):
            return Fitness.WRITABLE
        return Fitness.AUDIBLE if _is_audible(stream, packets) else Fitness.UNUSABLE
    return Fitness.WRITABLE if _is_writable(stream, packets, container) else Fitness.UNUSABLE


def _first_packets(source: InputContainer, tried: dict[int, Stream]) -> dict[int, list[Packet[Stream]]]:
    found: dict[int, list[Packet[Stream]]] = {index: [] for index in tried}
    for stream in source.streams:
        if stream.index not in tried:
            stream.discard = Discard.all  # where the container can skip its bytes, they are not read
    if not tried:
        return found
    try:
        for count, packet in enumerate(packets_of(source, *tried.values())):
            if packet.size and len(found[packet.stream_index]) < _PACKETS:
                found[packet.stream_index].append(packet)
            if count > _MOST_READ or all(len(packets) >= _PACKETS for packets in found.values()):
                break
    except av.error.FFmpegError as error:
        if is_of_the_disk(error):
            raise
    return found  # what came before the damage


def _is_described(stream: AudioStream) -> bool:
    """Whether the description is of sound that there can be."""
    context = stream.codec_context
    return 0 < context.sample_rate <= HIGHEST_RATE_HZ and 0 < context.channels <= MOST_CHANNELS


def _is_audible(stream: AudioStream, packets: Sequence[Packet[Stream]]) -> bool:
    """Whether a packet gives sound; a track of which none was found counts as audible."""
    if not packets:
        return True
    for packet in packets:
        try:
            if stream.decode(packet):
                return True
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):
                raise
    return False


def _is_writable(stream: Stream, packets: Sequence[Packet[Stream]], container: Container) -> bool:
    """Whether a muxer takes the description, the end of a file, and one packet at least where there are any."""
    taken = 0
    try:
        with av.open(_Nowhere(), "w", format=container.muxer) as output:
            target = output.add_stream_from_template(stream)
            output.start_encoding()
            for packet in packets:
                copy = _copy(packet)
                copy.stream = target
                taken += _takes(output, copy)
    except (av.error.FFmpegError, ValueError):
        return False
    return taken > 0 or not packets


def _takes(output: OutputContainer, packet: Packet[Stream]) -> bool:
    try:
        output.mux_one(packet)
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.PermissionError):  # the last: a plain -1
        return False
    return True


def _copy(packet: Packet[Stream]) -> Packet[Stream]:
    """The same data and times: writing a packet empties it, and it may have to be decoded afterwards."""
    copy: Packet[Stream] = Packet(bytes(packet))
    copy.time_base, copy.pts, copy.dts, copy.duration = packet.time_base, packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy


class _Nowhere:
    """A file that forgets what is written and knows only its length, which muxers ask for."""

    name = "nowhere"

    def __init__(self) -> None:
        self._place = 0
        self._end = 0

    def write(self, data: bytes) -> int:
        """Moves on by the bytes given."""
        self._place += len(data)
        self._end = max(self._end, self._place)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to `offset` from the start, from here or from the end."""
        self._place = offset + (0, self._place, self._end)[whence]
        return self._place

    def tell(self) -> int:
        """Where the next bytes go."""
        return self._place
