"""Reads what a video file is, and refuses what cannot become an exact result.

The order matters, because the file is not trusted: first the file system's answer, then the file's own bytes
(`sniff`), then the demuxer's headers, and the size limits before anything is decoded; only then one picture is
decoded, because rotation, HDR metadata, interlacing and chroma location are told by frames more reliably than
by headers. Every refusal is a `MediaError` with its own code.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceflow.errors import MediaError
from faceflow.media.clock import refused_length
from faceflow.media.codecs import VIDEO_CODECS, codec_name
from faceflow.media.describe import audio_info, is_carried, other_info, video_info
from faceflow.media.facts import MediaInfo
from faceflow.media.ffmpeg_log import ERROR, heard_log
from faceflow.media.ffv1_header import is_experimental_ffv1
from faceflow.media.film import main_video
from faceflow.media.opening import decoder_pixels, is_of_the_disk, open_media, packets_of, prepare_decoder, unreadable
from faceflow.media.refusals import (
    check_picture_size,
    codec_form_unsupported,
    corrupt,
    encrypted,
    joined_files,
    timed_out,
    truncated,
)
from faceflow.media.sniff import Sniffed, sniff
from faceflow.media.track_changes import check_tracks
from faceflow.settings import LimitSettings

_NOT_READ = (av.error.PatchWelcomeError, av.error.NotImplementedError, av.error.ExperimentalError)
"""What decoders say of a form of their codec that they do not know; damaged data is told in other words."""
_VP9_WITHOUT_WORDS = "VP Codec Configuration box"
"""MP4 has no number for 4:4:0 in VP9, so writers leave the track undescribed. Only FFmpeg's log tells it."""


def probe(path: Path, limits: LimitSettings) -> MediaInfo:
    """Reads a video's headers and first picture.

    Args:
        path: local file; any name is taken literally.
        limits: sizes, durations and times beyond which the file is refused.

    Raises:
        MediaError: `media.missing`, `.is_directory`, `.unreadable`, `.empty`, `.too_big`, `.playlist`, `.not_media`,
            `.truncated`, `.corrupt`, `.encrypted`, `.joined_files`, `.track_changes`, `.no_video`,
            `.codec_unsupported`, `.bad_dimensions`, `.too_large_picture`, `.too_small`, `.too_long`, `.timestamps`,
            `.timeout`.
    """
    size = _file_size(path, limits)
    try:
        sniffed = sniff(path)
    except OSError as error:
        raise unreadable(path, error) from error
    _refuse_by_bytes(path, sniffed)
    max_pixels = decoder_pixels(limits.max_side_px)
    lines: list[tuple[int, str, str]] = []
    try:
        with ExitStack() as stack:
            with heard_log(ERROR) as lines:
                container = stack.enter_context(
                    open_media(path, max_pixels=max_pixels, timeout_s=limits.probe_timeout_s)
                )
            try:
                return _read(path, container, size, limits, max_pixels)
            except MediaError as error:
                if error.code in {"media.bad_dimensions", "media.corrupt"}:
                    _refuse_by_log(path, lines, limits)
                raise
    except MediaError:
        raise
    except av.error.FFmpegError as error:
        raise _open_failure(path, sniffed, error, lines) from error


def _file_size(path: Path, limits: LimitSettings) -> int:
    try:
        if path.is_dir():
            raise IsADirectoryError
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise MediaError("media.missing", f"{path!r} is not a valid file name.", "Check the path.") from error
    if not path.is_file():
        raise MediaError(
            "media.unreadable", f"{path} is a device or a pipe.", "Save the video as an ordinary file first."
        )
    if size == 0:
        raise MediaError("media.empty", f"{path} is empty.", "Copy or download the file again.")
    if size > limits.max_size_bytes:
        raise MediaError(
            "media.too_big",
            f"{path} has {size} bytes; the limit is {limits.max_size_bytes}.",
            "Cut or compress the video, or raise FACEFLOW_LIMITS__MAX_SIZE_BYTES.",
            size_bytes=size,
        )
    return size


def _refuse_by_bytes(path: Path, sniffed: Sniffed) -> None:
    if sniffed.playlist:
        raise MediaError(
            "media.playlist",
            f"{path} is a playlist that points to other files.",
            "Use the video file itself, not a list of files or a stream description.",
        )
    if sniffed.missing_bytes:
        raise truncated(path, f"its container announces {sniffed.missing_bytes} bytes that are missing")
    if sniffed.encrypted:
        raise encrypted(path)
    if sniffed.joined:
        raise joined_files(path)


def _refuse_by_log(path: Path, lines: list[tuple[int, str, str]], limits: LimitSettings) -> None:
    """A decoder that refuses a size leaves 0x0 behind; only its log still knows what the header said."""
    for _, _, message in lines:
        if found := re.search(r"Picture size (\d+)x(\d+)", message):
            check_picture_size(path, int(found[1]), int(found[2]), limits)


def _open_failure(
    path: Path, sniffed: Sniffed, error: av.error.FFmpegError, lines: list[tuple[int, str, str]]
) -> MediaError:
    if isinstance(error, av.error.TimeoutError | av.error.ExitError):
        return timed_out(path)
    if is_of_the_disk(error):
        return unreadable(path, error)
    if sniffed.container is None:
        return MediaError(
            "media.not_media",
            f"{path} is not a video in a known container.",
            "Use an MP4, MOV, MKV, WebM, AVI or MPEG-TS file.",
        )
    if any(_VP9_WITHOUT_WORDS in message for _, _, message in lines):
        return codec_form_unsupported(path, "vp9")
    why = "one of them ends too early" if isinstance(error, OSError) else error.strerror
    return corrupt(path, f"its headers cannot be read ({why})")


def _read(path: Path, container: InputContainer, size: int, limits: LimitSettings, max_pixels: int) -> MediaInfo:
    stream = main_video(path, container, max_pixels, limits)
    duration_s = None if container.duration is None else container.duration / av.time_base
    track_notes = check_tracks(path, container, stream, max_pixels)
    _check_codec_and_size(path, stream, limits)
    if duration_s is not None and duration_s > limits.max_duration_s:
        raise refused_length(path, container, duration_s, limits, max_pixels)
    frame = _first_frame(path, container, stream, max_pixels, limits)
    return MediaInfo(
        container=container.format.name,
        size_bytes=size,
        duration_s=duration_s,
        video=video_info(path, stream, frame),
        audio=tuple(audio_info(track) for track in container.streams.audio if track.codec_context is not None),
        other=tuple(other_info(track) for track in container.streams if not is_carried(track, stream)),
        track_notes=track_notes,
    )


def _check_codec_and_size(path: Path, stream: VideoStream, limits: LimitSettings) -> None:
    context, name = stream.codec_context, codec_name(stream)
    if context is None or name not in VIDEO_CODECS:
        raise MediaError(
            "media.codec_unsupported",
            f"{path} uses the video codec {name}, which is not supported.",
            "Convert the video to H.264, HEVC, VP9 or AV1 first.",
            codec=name,
        )
    check_picture_size(path, context.width, context.height, limits)


def _first_frame(
    path: Path, container: InputContainer, stream: VideoStream, max_pixels: int, limits: LimitSettings
) -> VideoFrame:
    prepare_decoder(stream, max_pixels=max_pixels, threads=1)
    failed = unknown = 0
    deadline_s = time.monotonic() + limits.probe_timeout_s
    try:
        for packet in packets_of(container, stream):
            if packet.has_sidedata("encryption_info") or packet.has_sidedata("encryption_init_info"):
                raise encrypted(path)
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:  # a decoder reads no disk: whatever it says is about the data
                failed += 1
                unknown += isinstance(error, _NOT_READ)
                frames = []
            if frames:
                return frames[0]
            if time.monotonic() > deadline_s:
                raise timed_out(path)
    except av.error.InvalidDataError:
        failed += 1
    if failed and (unknown == failed or is_experimental_ffv1(codec_name(stream), stream.codec_context.extradata)):
        raise codec_form_unsupported(path, codec_name(stream))
    raise corrupt(path, f"no picture can be decoded ({failed} packets are unreadable)")
