"""Why a track is not in the output: the true reason for each kind, in words for the user.

Some are left out by choice: a second video, a cover or a thumbnail would show the face that was replaced. Some are
left out because nobody can say that they still fit, some because the container has no place for them. Two kinds are
not lost at all: chapters and timecodes are tracks in MP4 and MOV, and are written anew (`header`).
"""

from __future__ import annotations

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream

from faceflow.media.codecs import codec_name
from faceflow.media.containers import OutputContainer
from faceflow.media.header import is_timecode_track

_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
_SHOWS_THE_OLD_FACE = "it may show the original face"


def left_out_note(stream: Stream, source: InputContainer, container: OutputContainer) -> str | None:
    """The note on a track that is not carried; None where what it says is written anew.

    Args:
        stream: the track, untouched: FFmpeg itself marks tracks of chapters as not to be read.
        source: its file.
        container: what is written.
    """
    if is_timecode_track(stream) or _is_chapters(stream, source):
        return None
    if stream.type == "video" and stream.disposition & _COVERS:
        return f"cover picture (track {stream.index}, {codec_name(stream)}) was left out: {_SHOWS_THE_OLD_FACE}"
    if stream.type == "attachment":
        return f"attachment {_file_name(stream)} was left out: {_why_no_attachment(container)}"
    return f"{label(stream)} was left out: {_reason(stream, container)}"


def label(stream: Stream) -> str:
    """How notes call a track: `audio track 1 (aac)`."""
    name = codec_name(stream)
    if stream.type == "data":
        name = stream.metadata.get("handler_name", "").strip() or name
    return f"{stream.type} track {stream.index} ({name})"


def is_carried_attachment(stream: Stream, container: OutputContainer) -> bool:
    """Whether a file in the file goes along: fonts and texts do, pictures do not."""
    return stream.type == "attachment" and container.attachments and not _is_picture(stream)


def _reason(stream: Stream, container: OutputContainer) -> str:
    if stream.type == "video":
        return f"only one video track is carried over, and {_SHOWS_THE_OLD_FACE}"
    if isinstance(stream, AudioStream):
        return "its sound cannot be decoded"
    if stream.type == "subtitle":
        return f"{container.title} files cannot hold subtitles of this kind"
    return f"{stream.type} tracks are not carried over"


def _why_no_attachment(container: OutputContainer) -> str:
    return _SHOWS_THE_OLD_FACE if container.attachments else f"{container.title} files cannot hold attachments"


def _is_chapters(stream: Stream, source: InputContainer) -> bool:
    return stream.type == "data" and stream.discard == Discard.all and bool(source.chapters())


def _is_picture(stream: Stream) -> bool:
    return stream.metadata.get("mimetype", "").startswith("image/")


def _file_name(stream: Stream) -> str:
    return repr(stream.metadata.get("filename", f"on track {stream.index}"))
