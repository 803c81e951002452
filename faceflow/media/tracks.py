"""The tracks beside the picture: which of them the output's container carries, and how they get there.

Audio packets are copied byte by byte wherever the container knows the codec. Where it does not, the track is
decoded and encoded as AAC with the same times, and a note says so; likewise where a track changes its sample rate or
its channels on the way, which an output says once for the whole track (`sound_forms`). Subtitles are copied where the
container knows them, else left out and noted. Data tracks, cover pictures and further video tracks are left out and
noted; nothing disappears silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Stream

from faceflow.media.codecs import codec_name
from faceflow.media.containers import OutputContainer as Container
from faceflow.media.facts import MediaInfo
from faceflow.media.left_out import is_carried_attachment, label, left_out_note
from faceflow.media.one_form import OneForm
from faceflow.media.opening import is_of_the_disk
from faceflow.media.rehearsal import HIGHEST_RATE_HZ, Fitness
from faceflow.media.sound_forms import SoundForm

_CARRIED_TAGS = ("language", "title", "handler_name")
_ANY_BYTES = "application/octet-stream"
_AAC_FRAME = 1024
_PREROLL_S = Fraction(1, 10)
_AAC_BITS_PER_CHANNEL = 96_000
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_AAC_RATES = frozenset({96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350})


class Track:
    """One track of the source and its way into the output: this one copies.

    Attributes:
        source: the track that packets come from.
        target: the track that they go to.
    """

    def __init__(self, source: Stream, target: Stream) -> None:
        self.source = source
        self.target = target
        self._label = label(source)  # the stream itself is gone once its container is closed
        self._hidden_left_out = 0
        self._damaged_left_out = 0

    def convert(self, packet: Packet[Stream] | None) -> Iterator[Packet[Stream]]:
        """Turns a source packet (None at the end) into packets whose times are in their own `time_base`."""
        if packet is not None:
            yield packet

    def refused(self, packet: Packet[Stream]) -> None:
        """Counts a packet that the muxer does not take.

        A damaged ADTS header is such a packet, and one that an edit list hides and whose times repeat or run backwards.
        """
        if packet.is_discard:
            self._hidden_left_out += 1
        else:
            self._damaged_left_out += 1

    def notes(self) -> tuple[str, ...]:
        """What the user should know, after the last packet."""
        counts = {" that the file itself hides": self._hidden_left_out, " that cannot be read": self._damaged_left_out}
        return tuple(
            f"{count} {'packet' if count == 1 else 'packets'} of {self._label}{which} "
            f"{'was' if count == 1 else 'were'} left out"
            for which, count in counts.items()
            if count
        )


class _WithoutHidden(Track):
    """Copies to a container that cannot hide packets: what the source's edit list hides is not heard there either.

    A decoder needs a little before the first sound that is heard, so the last hidden packets before it are kept.
    """

    def __init__(self, source: Stream, target: Stream) -> None:
        super().__init__(source, target)
        self._waiting: list[Packet[Stream]] = []

    def convert(self, packet: Packet[Stream] | None) -> Iterator[Packet[Stream]]:
        if packet is None or packet.is_discard:
            self._waiting += [packet] if packet is not None else []
            return
        for waiting in self._waiting:
            if _start_s(packet) - _start_s(waiting) <= _PREROLL_S:
                yield waiting
            else:
                self._hidden_left_out += 1
        self._waiting.clear()
        yield packet

    def notes(self) -> tuple[str, ...]:
        self._hidden_left_out += len(self._waiting)
        self._waiting.clear()
        return super().notes()


class _AsAac(Track):
    """Decodes and encodes as AAC, keeping the times.

    Args:
        source: the track.
        output: the file that it goes to.
        reason: why, in words for the note.
        forms: those that the track comes in, where it changes on the way.
    """

    def __init__(
        self, source: AudioStream, output: OutputContainer, reason: str, forms: Sequence[SoundForm] = ()
    ) -> None:
        context = source.codec_context
        rate = max((form.rate_hz for form in forms), default=context.sample_rate)
        richest = max(forms, key=lambda form: form.channels, default=None)
        layout = context.layout.name if richest is None else richest.layout
        if rate not in _AAC_RATES:
            rate = 48_000
        if layout not in _AAC_LAYOUTS.values():
            channels = context.layout.nb_channels if richest is None else richest.channels
            layout = _AAC_LAYOUTS.get(channels, "5.1")
        target = output.add_stream("aac", rate=rate, layout=layout)
        target.codec_context.bit_rate = _AAC_BITS_PER_CHANNEL * target.codec_context.layout.nb_channels
        target.time_base = Fraction(1, rate)
        super().__init__(source, target)
        self._decoder = context
        self._encoder = target
        self._one_form = OneForm(("fltp", layout, rate) if forms else None)
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=_AAC_FRAME)
        self._unreadable = 0
        self._reason = reason

    def convert(self, packet: Packet[Stream] | None) -> Iterator[Packet[Stream]]:
        for frame in self._decoded(packet):
            for alike in self._one_form.convert(frame):
                yield from self._encoded(alike)
        if packet is None:
            for alike in self._one_form.convert(None):
                yield from self._encoded(alike)
            yield from self._encoded(None)
            yield from self._encoder.encode(None)

    def _encoded(self, frame: AudioFrame | None) -> Iterator[Packet[Stream]]:
        for part in self._resampler.resample(frame):
            yield from self._encoder.encode(part)

    def _decoded(self, packet: Packet[Stream] | None) -> list[AudioFrame]:
        try:
            frames = self._decoder.decode(packet)
        except av.error.FFmpegError as error:
            if is_of_the_disk(error):
                raise
            self._unreadable += 1
            return []
        sane = [frame for frame in frames if 0 < frame.sample_rate <= HIGHEST_RATE_HZ]
        self._unreadable += len(sane) < len(frames)
        return sane

    def notes(self) -> tuple[str, ...]:
        packets = "1 damaged packet is" if self._unreadable == 1 else f"{self._unreadable} damaged packets are"
        damaged = f"; {packets} silent" if self._unreadable else ""
        return (f"{self._label} was re-encoded as AAC: {self._reason}{damaged}", *super().notes())


def add_tracks(
    source: InputContainer,
    output: OutputContainer,
    media: MediaInfo,
    container: Container,
    forms: Mapping[int, Sequence[SoundForm]],
    fitness: Mapping[int, Fitness],
) -> tuple[tuple[Track, ...], tuple[str, ...]]:
    """Adds every track that can be carried to the output.

    Args:
        source: the file that they come from.
        output: the file that is written, not begun yet.
        media: what `probe` found of `source`.
        container: what is written.
        forms: of the tracks that change on the way (see `sound_forms`).
        fitness: what can be done with each (see `rehearse`).

    Returns:
        The tracks, and notes on those that were left out; what happens to the others, each tells after its last packet.
    """
    tracks: list[Track] = []
    notes: list[str] = []
    for stream in source.streams:
        if stream.index == media.video.stream_index:
            stream.discard = Discard.all  # its bytes need not even be read
            continue
        if is_written(stream, media, container) and fitness.get(stream.index) is Fitness.UNUSABLE:
            stream.discard = Discard.all
            is_late = isinstance(stream, AudioStream) and stream.sample_rate == 0
            reason = "it begins too late to be announced in the file's header" if is_late else "it is damaged"
            notes.append(f"{label(stream)} was left out: {reason}")
        elif isinstance(stream, AudioStream) and is_written(stream, media, container):
            is_whole = fitness.get(stream.index) is not Fitness.AUDIBLE
            tracks.append(_audio_track(stream, output, container, forms.get(stream.index, ()), is_whole=is_whole))
        elif is_written(stream, media, container):
            tracks.append(Track(stream, output.add_stream_from_template(stream)))
        elif isinstance(stream, AttachmentStream) and is_carried_attachment(stream, container):
            output.add_attachment(stream.name or "attachment", stream.mimetype or _ANY_BYTES, stream.data or b"")
        else:
            note = left_out_note(stream, source, container)
            notes += [] if note is None else [note]
            stream.discard = Discard.all
    for track in tracks:
        _carry_tags(track.source, track.target, container)
    return tuple(tracks), tuple(notes)


def is_written(stream: Stream, media: MediaInfo, container: Container) -> bool:
    """Whether a track beside the picture is written to a container, as far as its kind goes."""
    if stream.index == media.video.stream_index:
        return False
    name = codec_name(stream)
    return (isinstance(stream, AudioStream) and name != "unknown") or (
        stream.type == "subtitle" and name in container.subtitles
    )


def _audio_track(
    stream: AudioStream, output: OutputContainer, container: Container, forms: Sequence[SoundForm], *, is_whole: bool
) -> Track:
    if forms:
        words = ", then ".join(dict.fromkeys(form.words() for form in forms))
        return _AsAac(stream, output, f"it changes partway through ({words})", forms)
    if codec_name(stream) not in container.audio:
        return _AsAac(stream, output, "the container cannot hold it")
    if not is_whole:
        return _AsAac(stream, output, "its description is damaged")
    target = output.add_stream_from_template(stream)
    return Track(stream, target) if container.hides_packets else _WithoutHidden(stream, target)


def _start_s(packet: Packet[Stream]) -> Fraction:
    return Fraction(0) if packet.pts is None else packet.pts * packet.time_base


def _carry_tags(source: Stream, target: Stream, container: Container) -> None:
    found = {name.lower(): value for name, value in source.metadata.items()}
    found.setdefault("title", found.get("name", ""))  # what MOV and MP4 call a track
    tags = {name: found[name] for name in _CARRIED_TAGS if found.get(name)}
    if "language" in tags:
        tags["language"] = container.language_tag(tags["language"])
    target.metadata.update(tags)
    target.disposition = source.disposition
