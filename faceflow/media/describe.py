"""Puts what demuxer, track and first frame say into faceflow's own words."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceflow.errors import MediaError
from faceflow.media.codecs import codec_name
from faceflow.media.formats import is_readable_format
from faceflow.media.model import AudioInfo, OtherStreamInfo, VideoInfo
from faceflow.media.refusals import corrupt
from faceflow.media.tags import colour_tags, hdr_metadata, orientation, sample_aspect_ratio


def video_info(path: Path, stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    """The video track as its headers and its first decoded frame describe it. Raises `media.codec_unsupported`."""
    context = stream.codec_context
    pixel_format = frame.format.name
    if not is_readable_format(pixel_format):
        raise MediaError(
            "media.codec_unsupported",
            f"{path} stores its pictures as {pixel_format}, which is not read.",
            "Convert the video to H.264, HEVC, VP9 or AV1 first.",
            pixel_format=pixel_format,
        )
    rotation, mirrored = orientation(frame)
    width, height = (frame.height, frame.width) if rotation in {90, 270} else (frame.width, frame.height)
    if stream.time_base is None:
        raise corrupt(path, "the video track has no time base")
    return VideoInfo(
        stream_index=stream.index,
        codec=codec_name(stream),
        width_px=width,
        height_px=height,
        coded_width_px=frame.width,
        coded_height_px=frame.height,
        pixel_format=pixel_format,
        bit_depth=max(component.bits for component in frame.format.components),
        time_base=stream.time_base,
        average_rate=stream.average_rate or stream.guessed_rate or None,
        rotation_degrees=rotation,
        mirrored=mirrored,
        sample_aspect_ratio=sample_aspect_ratio(stream, rotation),
        colour=colour_tags(frame, context, rotation, mirrored),
        hdr=hdr_metadata(frame),
        interlaced=frame.interlaced_frame or context.field_order > 1,
        language=stream.language,
    )


def is_carried(track: Stream, video: VideoStream) -> bool:
    """Whether a track is the video itself or sound; all others are only listed."""
    return track.index == video.index or (isinstance(track, AudioStream) and track.codec_context is not None)


def audio_info(stream: AudioStream) -> AudioInfo:
    """One audio track."""
    context = stream.codec_context
    return AudioInfo(
        stream_index=stream.index,
        codec=codec_name(stream),
        sample_rate_hz=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        time_base=stream.time_base or Fraction(1, context.sample_rate or 1),
        language=stream.language,
    )


def other_info(stream: Stream) -> OtherStreamInfo:
    """A track that is neither."""
    return OtherStreamInfo(
        stream_index=stream.index,
        kind=stream.type,
        codec=codec_name(stream),
        language=stream.language,
    )
