"""In which forms (rate, channels) a sound track comes, where its packets describe themselves and may change.

A recording goes from the advertisement in stereo to the film in 5.1, two transport streams are put one after the
other: the second half has another sample rate or other channels. Players follow, because each packet says what it is;
MP4 and Matroska say it once for a track, so a copied second half would play at the wrong pitch. So before anything is
written, the packets of such tracks are read once: AAC by its ADTS header, the others by what their decoder makes of
them.

A form counts when it lasts: a few damaged packets do not turn a track into another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from faceflow.media.codecs import codec_name
from faceflow.media.opening import is_of_the_disk, packets_of

_SELF_DESCRIBING = frozenset(
    {"aac_latm", "mp1", "mp2", "mp3", "ac3", "eac3", "dts", "truehd", "mlp", "flac", "wavpack", "opus",
     "pcm_bluray", "pcm_dvd", "s302m"}
)  # fmt: skip
_LASTING_PACKETS = 3
_SETTLING_PACKETS = 4


@dataclass(frozen=True, slots=True)
class SoundForm:
    """How sound is sampled: samples a second, channels, FFmpeg's name of their layout."""

    rate_hz: int
    channels: int
    layout: str

    def words(self) -> str:
        """For people: `48000 Hz stereo`."""
        return f"{self.rate_hz} Hz {self.layout}"


def sound_forms(container: InputContainer, streams: Iterable[AudioStream]) -> dict[int, tuple[SoundForm, ...]]:
    """Reads the file to its end.

    Args:
        container: open, at its start.
        streams: its sound tracks.

    Returns:
        For each track that changes, by its index: its forms, in order of appearance. Tracks that stay as they are
        described are not in it.
    """
    watched = {stream.index: _Watch(stream) for stream in streams if _may_change(stream)}
    if not watched:
        return {}
    for stream in container.streams:
        if stream.index not in watched:
            stream.discard = Discard.all  # where the container can skip its bytes, they are not read
    packets = packets_of(container, *(watch.stream for watch in watched.values()))
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):
                raise
            break  # what cannot be read is not written either
        if packet is None:
            break
        if packet.size:  # at the end every track gets an empty one
            watched[packet.stream_index].look(packet)
    return {index: forms for index, watch in watched.items() if len(forms := watch.forms()) > 1}


def _may_change(stream: AudioStream) -> bool:
    return codec_name(stream) in _SELF_DESCRIBING | {"aac"}


@dataclass(slots=True)
class _Described:
    """Packets that describe themselves alike: how many, and what the decoder made of the first of them."""

    packets: int = 0
    form: SoundForm | None = None


class _Watch:
    """One track's packets, gathered by how they describe themselves."""

    def __init__(self, stream: AudioStream) -> None:
        self.stream = stream
        self._is_aac = codec_name(stream) == "aac"
        self._configuration = stream.codec_context.extradata or b""
        self._described: dict[object, _Described] = {}

    def look(self, packet: Packet[AudioStream]) -> None:
        if not self._is_aac:
            for form in self._decoded(packet):
                self._described.setdefault(form, _Described(form=form)).packets += 1
            return
        # AAC says what it is beside the data, and what its decoder makes of the first packets may be provisional.
        described = self._described.setdefault(self._description(packet), _Described())
        described.packets += 1
        if described.packets <= _SETTLING_PACKETS:
            described.form = next(iter(self._decoded(packet)), described.form)

    def _description(self, packet: Packet[AudioStream]) -> bytes:
        if packet.has_sidedata("new_extradata"):
            self._configuration = bytes(packet.get_sidedata("new_extradata"))
        head = memoryview(packet)[:4].tobytes()
        if len(head) == 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS: profile, rate, channels
            return bytes((head[2] & 0xFD, head[3] & 0xC0))
        return self._configuration

    def _decoded(self, packet: Packet[AudioStream]) -> list[SoundForm]:
        try:
            frames = self.stream.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):
                raise
            return []  # damage is told of where the track is written
        return [
            SoundForm(frame.sample_rate, frame.layout.nb_channels, frame.layout.name)
            for frame in frames
            if frame.samples
        ]

    def forms(self) -> tuple[SoundForm, ...]:
        return tuple(
            described.form
            for described in self._described.values()
            if described.packets >= _LASTING_PACKETS and described.form is not None
        )


def _form(frame: AudioFrame) -> SoundForm:
    return SoundForm(frame.sample_rate, frame.layout.nb_channels, frame.layout.name)
