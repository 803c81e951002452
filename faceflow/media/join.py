"""Joins encoded parts into one file by copying packets, and puts the source's sound beside them.

Nothing is encoded here, so the only thing that can go wrong is time, and time comes from the frame index alone. (see
`joints`). Sound is copied with its own times, so the offset between picture and sound stays what it was.

One clock cannot be kept: MPEG-TS and its kind start at any time of day, so there all tracks are moved together
until the earliest begins at zero; this is noted. Matroska rounds times to 1 ms; this is noted too. The finished
file is read once more and every frame's time is compared before it gets its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from faceflow.media.codecs import codec_name
from faceflow.media.container_tags import ContainerTags, container_tags
from faceflow.media.containers import OutputContainer as Container
from faceflow.media.containers import output_container
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.header import write_header
from faceflow.media.joints import frame_numbers, timed_packets
from faceflow.media.opening import container_family, decoder_pixels, media_name, open_media, packets_of
from faceflow.media.refusals import corrupt
from faceflow.media.rehearsal import Fitness, rehearse
from faceflow.media.sound_forms import SoundForm, sound_forms
from faceflow.media.tracks import Track, add_tracks, is_written
from faceflow.media.verify import verify_times
from faceflow.media.writer import nominal_rate
from faceflow.progress import SILENT, Progress
from faceflow.publish import publishing

_FLOATING_CLOCKS = frozenset({"mpegts", "mpeg"})
_LARGEST_MOVIE_CLOCK = 1_000_000
_DATA_ERRORS = (av.error.InvalidDataError, av.error.ArgumentError, av.error.PermissionError)
"""How muxers refuse what they are given; the last is FFmpeg's plain -1, and no file's permission."""
_MAX_PIXELS = decoder_pixels(16384)


def join(
    parts: Sequence[Path],
    source: Path,
    media: MediaInfo,
    index: FrameIndex,
    destination: Path,
    *,
    place_note: str | None = None,
    progress: Progress = SILENT,
) -> tuple[str, ...]:
    """Writes the finished video.

    Args:
        parts: encoded parts in order; together they hold every frame of the index once.
        source: the file that sound, subtitles, chapters and tags come from.
        media: what `probe` found of `source`.
        index: every frame's time.
        destination: the file to write; its ending chooses the container.
        place_note: what is noted where tags say where it was taken, which are left out then; None carries them.
        progress: advanced by one a frame.

    Returns:
        Notes for the user: tracks that were re-encoded or left out, clocks that were moved or rounded, tags that
        were left out.

    Raises:
        OutputError: `output.container_unsupported` and those of `publishing`.
        ResourceError: `fault.disk_full`.
        ExactnessError: `fault.exactness`, parts and index do not belong together, or the written file is not exact.
        CancelledError: the run was told to stop.
    """
    container = output_container(destination)
    ranks = frame_numbers(parts, index)
    with publishing(destination) as temporary:
        forms, fitness = _sound_forms(source), _fitness(source, media, container)
        with ExitStack() as stack:
            sound = stack.enter_context(open_media(source, max_pixels=_MAX_PIXELS))
            origin, notes = _origin(sound, media, index)
            tags = container_tags(sound.metadata, container, carries_place=place_note is None)
            options = _muxer_options(container, media, index, tags)
            output = stack.enter_context(av.open(media_name(temporary), "w", format=container.muxer, options=options))
            rate = nominal_rate(media.video, index)
            picture = _add_picture(output, container, parts[0], stack, media, rate)
            main = sound.streams[media.video.stream_index]
            header_notes = write_header(sound, main, output, picture, tags, container, origin, rate)
            tracks, track_notes = add_tracks(sound, output, media, container, forms, fitness)
            _begin(output, source)
            pictures = timed_packets(parts, picture, ranks, index, origin)
            damaged = _interleave(output, pictures, _sound_packets(sound, tracks, origin), tracks, progress)
            _finish(output, source)
        notes += media.track_notes + track_notes + tuple(note for track in tracks for note in track.notes())
        notes += header_notes
        if damaged:
            notes += (
                f"{damaged} damaged sound or subtitle {'packets were' if damaged > 1 else 'packet was'} left out",
            )
        if tags.has_place and place_note is not None:
            notes += (place_note,)
        notes += verify_times(temporary, index, origin, container)
    return notes


def _sound_forms(source: Path) -> dict[int, tuple[SoundForm, ...]]:
    with open_media(source, max_pixels=_MAX_PIXELS) as container:
        return sound_forms(container, container.streams.audio)


def _fitness(source: Path, media: MediaInfo, container: Container) -> dict[int, Fitness]:
    with open_media(source, max_pixels=_MAX_PIXELS) as opened:
        streams = [stream for stream in opened.streams if is_written(stream, media, container)]
        return rehearse(opened, streams, container)


def _origin(sound: InputContainer, media: MediaInfo, index: FrameIndex) -> tuple[Fraction, tuple[str, ...]]:
    """The time that becomes zero in the output, in seconds, and a note where it is not zero in the source."""
    if container_family(media.container) not in _FLOATING_CLOCKS:
        return Fraction(0), ()
    starts = [index.time_s(0)]
    starts += [
        stream.start_time * stream.time_base
        for stream in sound.streams.audio
        if stream.start_time is not None and stream.time_base is not None
    ]
    # Only whole ticks of the picture's clock can be written.
    origin = min(starts) // index.time_base * index.time_base
    if origin == 0:
        return origin, ()
    return origin, (
        f"all tracks were shifted together by {float(-origin):+.6f} s so that the first one begins at zero",
    )


def _muxer_options(container: Container, media: MediaInfo, index: FrameIndex, tags: ContainerTags) -> dict[str, str]:
    clock = index.time_base.denominator
    common = math.lcm(clock, *(track.sample_rate_hz for track in media.audio if track.sample_rate_hz > 0))
    options = dict(container.options)
    options |= dict.fromkeys(container.clock_options, str(clock))
    options |= dict.fromkeys(container.common_clock_options, str(common if common <= _LARGEST_MOVIE_CLOCK else clock))
    if tags.any_name:
        options["movflags"] = f"{options.get('movflags', '')}+use_metadata_tags"
    return options


def _add_picture(
    output: OutputContainer, container: Container, part: Path, stack: ExitStack, media: MediaInfo, rate: Fraction
) -> VideoStream:
    template = stack.enter_context(open_media(part, max_pixels=_MAX_PIXELS)).streams.video[0]
    stream = output.add_stream_from_template(template)
    stream.time_base = template.time_base
    stream.codec_context.framerate = rate  # Matroska states it; no time depends on it
    if codec_name(template) == "hevc" and container.hevc_tag is not None:
        stream.codec_context.codec_tag = container.hevc_tag
    if media.video.language is not None:
        stream.metadata["language"] = container.language_tag(media.video.language)
    return stream


def _begin(output: OutputContainer, source: Path) -> None:
    try:
        output.start_encoding()
    except _DATA_ERRORS as error:
        raise corrupt(source, "the description of one of its other tracks is invalid") from error


def _sound_packets(sound: InputContainer, tracks: Sequence[Track], origin: Fraction) -> Iterator[Packet[Stream]]:
    """Yields the other tracks' packets in the order of the source file, moved by the origin."""
    if not tracks:
        return
    by_index = {track.source.index: track for track in tracks}
    for packet in packets_of(sound, *(track.source for track in tracks)):
        track = by_index[packet.stream.index]
        for made in track.convert(packet if packet.size else None):
            shift = round(origin / made.time_base)
            if made.pts is not None:
                made.pts -= shift
            if made.dts is not None:
                made.dts -= shift
            made.stream = track.target
            yield made


def _interleave(
    output: OutputContainer,
    picture: Iterator[Packet[Stream]],
    sound: Iterator[Packet[Stream]],
    tracks: Sequence[Track],
    progress: Progress,
) -> int:
    """Writes both in the order of their decoding times, so that the muxer need not hold one back for the other.

    Returns:
        How many packets beside the picture were refused when it was too late to tell of which track they are.
    """
    damaged = 0
    by_target = {track.target.index: track for track in tracks}
    waiting = next(sound, None)
    for packet in picture:
        time_s = _time_s(packet)
        while waiting is not None and _time_s(waiting) <= time_s:
            _write(output, waiting, by_target[waiting.stream.index])
            waiting = next(sound, None)
        damaged += _is_refused(output, packet)
        progress.advance()
    while waiting is not None:
        _write(output, waiting, by_target[waiting.stream.index])
        waiting = next(sound, None)
        progress.check()
    return damaged


def _write(output: OutputContainer, packet: Packet[Stream], track: Track) -> None:
    """Writes a packet of another track; one that the muxer cannot make sense of is left out, and the track told."""
    try:
        output.mux_one(packet)
    except _DATA_ERRORS:
        track.refused(packet)


def _is_refused(output: OutputContainer, packet: Packet[Stream]) -> bool:
    """Writes a packet of the picture. The muxer takes it, then writes what it kept back: that is what it may refuse.

    Were it the picture after all, the finished file would not show every frame, which is compared at the end.
    """
    try:
        output.mux_one(packet)
    except _DATA_ERRORS:
        if len(output.streams) == 1:
            raise
        return True
    return False


def _finish(output: OutputContainer, source: Path) -> None:
    try:
        output.close()
    except _DATA_ERRORS as error:
        raise corrupt(source, "one of its other tracks cannot be written") from error


def _time_s(packet: Packet[Stream]) -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None else ticks * packet.time_base
