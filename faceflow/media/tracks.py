"""The tracks beside the picture: which of them the output's container carries, and how they get there.

Audio packets are copied byte by byte wherever the container knows the codec. Where it does not, the track is decoded and encoded as AAC
with the same times, and a note says so. Subtitles are copied where the container knows them, else left out and noted. Data tracks,
cover pictures and further video tracks are left out and noted; nothing disappears silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from faceflow.media.model import MediaInfo

_AUDIO_MP4 = frozenset({"aac", "mp3", "mp2", "mp1", "ac3", "eac3", "alac", "opus", "flac", "vorbis", "dts"})
_AUDIO_MOV = frozenset({"aac", "mp3", "mp2", "mp1", "ac3", "eac3", "alac", "adpcm_ima_qt", "mace3", "mace6"})
_AUDIO_MKV = frozenset(
    {
        "aac",
        "mp3",
        "mp2",
        "mp1",
        "ac3",
        "eac3",
        "alac",
        "opus",
        "flac",
        "vorbis",
        "dts",
        "truehd",
        "mlp",
        "tta",
        "wavpack",
    }
)
_PCM_MP4 = frozenset(
    {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be"}
)
_PCM_MKV = frozenset(
    {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32le"}
)
_PCM_MOV = _PCM_MP4 | {"pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw", "pcm_f64le", "pcm_f64be"}
AUDIO_CODECS = {"mp4": _AUDIO_MP4 | _PCM_MP4, "mov": _AUDIO_MOV | _PCM_MOV, "matroska": _AUDIO_MKV | _PCM_MKV}
"""Audio codecs that are copied, by FFmpeg's name of the output's muxer. PCM in MP4 is ISO/IEC 23003-5."""

SUBTITLE_CODECS = {
    "mp4": frozenset({"mov_text"}),
    "mov": frozenset({"mov_text"}),
    "matroska": frozenset({"subrip", "ass", "webvtt", "dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle"}),
}
"""Subtitle codecs that are copied, by FFmpeg's name of the output's muxer."""

_CARRIED_TAGS = ("language", "title", "handler_name")
_AAC_BITS_PER_CHANNEL = 96_000
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_AAC_RATES = frozenset({96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350})


@dataclass(frozen=True, slots=True)
class Track:
    """One track of the source and its way into the output.

    `convert` turns a source packet (None at the end) into packets whose times are in their own `time_base`.
    """

    source: Stream
    target: Stream
    convert: Callable[[Packet[Stream] | None], Iterator[Packet[Stream]]]


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec (not of the decoder: `mp3`, not `mp3float`), or `unknown`."""
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name


def add_tracks(
    source: InputContainer, output: OutputContainer, media: MediaInfo, muxer: str
) -> tuple[tuple[Track, ...], tuple[str, ...]]:
    """Adds every track that can be carried to the output.

    Returns:
        The tracks, and notes on those that were re-encoded or left out.
    """
    tracks: list[Track] = []
    notes: list[str] = []
    for stream in source.streams:
        if stream.index == media.video.stream_index:
            continue
        name, label = codec_name(stream), f"{stream.type} track {stream.index}"
        if isinstance(stream, AudioStream) and name != "unknown":
            if name in AUDIO_CODECS[muxer]:
                tracks.append(_copied(stream, output))
            else:
                tracks.append(_as_aac(stream, output))
                notes.append(f"{label} ({name}) was re-encoded as AAC: {muxer} cannot carry it")
        elif stream.type == "subtitle" and name in SUBTITLE_CODECS[muxer]:
            tracks.append(_copied(stream, output))
        else:
            notes.append(f"{label} ({name}) was left out: {muxer} cannot carry it")
    for track in tracks:
        _carry_tags(track.source, track.target)
    return tuple(tracks), tuple(notes)


def _carry_tags(source: Stream, target: Stream) -> None:
    target.metadata.update({name: source.metadata[name] for name in _CARRIED_TAGS if name in source.metadata})
    target.disposition = source.disposition


def _copied(stream: Stream, output: OutputContainer) -> Track:
    target = output.add_stream_from_template(stream)

    def convert(packet: Packet[Stream] | None) -> Iterator[Packet[Stream]]:
        if packet is not None:
            yield packet

    return Track(stream, target, convert)


def _as_aac(stream: AudioStream, output: OutputContainer) -> Track:
    source = stream.codec_context
    rate = source.sample_rate if source.sample_rate in _AAC_RATES else 48_000
    layout = source.layout.name
    if layout not in _AAC_LAYOUTS.values():
        layout = _AAC_LAYOUTS.get(source.layout.nb_channels, "5.1")
    target = output.add_stream("aac", rate=rate, layout=layout)
    target.codec_context.bit_rate = _AAC_BITS_PER_CHANNEL * target.codec_context.layout.nb_channels
    target.time_base = Fraction(1, rate)
    resampler = AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)

    def convert(packet: Packet[Stream] | None) -> Iterator[Packet[Stream]]:
        for frame in source.decode(packet):
            for part in resampler.resample(frame):
                yield from target.encode(part)
        if packet is None:
            for part in resampler.resample(None):
                yield from target.encode(part)
            yield from target.encode(None)

    return Track(stream, target, convert)
