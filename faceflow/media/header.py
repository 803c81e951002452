"""What is written at the head of a finished video beside its tracks: tags, chapters, the timecode of its first frame.

A timecode is a track of its own in MP4 and MOV, which the muxer makes from the first frame's; in Matroska it is a tag
of the picture. Chapters are moved with the tracks where these are moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from faceflow.media.container_tags import ContainerTags, fits_timecode, start_timecode
from faceflow.media.containers import OutputContainer as Container

_OF_THE_PICTURE = ("title", "name", "handler_name", "reel_name")


def write_header(
    source: InputContainer,
    main: Stream,
    output: OutputContainer,
    picture: VideoStream,
    tags: ContainerTags,
    container: Container,
    origin: Fraction,
    rate: Fraction,
) -> tuple[str, ...]:
    """Sets tags, chapters and timecode of an output that was not begun yet.

    Args:
        source: the file that they come from.
        main: its picture.
        output: the file that is written.
        picture: its picture.
        tags: those that are written.
        container: what is written.
        origin: the time that becomes zero, seconds.
        rate: frames a second, as the output states it.

    Returns:
        Notes on what could not be carried.
    """
    output.metadata.update(tags.tags)
    picture.metadata.update(picture_tags(main))
    picture.disposition = main.disposition
    _write_chapters(source, output, origin)
    return (*tags.notes(container), *_write_timecode(source, main, picture, container, rate))


def picture_tags(main: Stream) -> dict[str, str]:
    """Tags of the picture's own track."""
    found = {name.lower(): value for name, value in main.metadata.items()}
    tags = {name: found[name] for name in _OF_THE_PICTURE if found.get(name)}
    if "name" in tags:
        tags.setdefault("title", tags["name"])
        del tags["name"]
    return tags


def is_timecode_track(stream: Stream) -> bool:
    """Whether a track holds nothing but timecodes."""
    return stream.type == "data" and "timecode" in stream.metadata


def _write_chapters(source: InputContainer, output: OutputContainer, origin: Fraction) -> None:
    chapters = source.chapters()
    for chapter in chapters:
        shift = round(origin / (chapter["time_base"] or Fraction(1)))
        chapter["start"] -= shift
        chapter["end"] -= shift
    if chapters:
        output.set_chapters(chapters)


def _write_timecode(
    source: InputContainer, main: Stream, picture: VideoStream, container: Container, rate: Fraction
) -> Iterator[str]:
    tracks = [stream for stream in source.streams if is_timecode_track(stream)]
    timecode = start_timecode(source.metadata, main.metadata) or next(
        (track.metadata["timecode"] for track in tracks), None
    )
    if timecode is None:
        return
    if container.counts_timecode and not fits_timecode(timecode, rate):
        yield f"its timecode {timecode} was left out: {container.title} does not support timecodes at this frame rate"
        return
    picture.metadata["timecode"] = timecode
    if any(track.frames > 1 for track in tracks):
        yield f"only the timecode of the first frame, {timecode}, was carried over"
