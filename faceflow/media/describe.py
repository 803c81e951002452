"""Puts what demuxer, track and first frame say into faceflow's own words."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceflow.errors import MediaError
from faceflow.media.codecs import codec_name
from faceflow.media.conversion import READABLE_MATRICES, is_readable_format
from faceflow.media.facts import AudioInfo, OtherStreamInfo, VideoInfo
from faceflow.media.formats import samples_of
from faceflow.media.refusals import corrupt
from faceflow.media.tags import colour_tags, hdr_metadata, orientation, sample_aspect_ratio

_OPAQUE = 255


def video_info(path: Path, stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    """The video track as its headers and its first decoded frame describe it.

    Raises:
        MediaError: `media.codec_unsupported`, `media.colour_unsupported`.
    """
    context = stream.codec_context
    pixel_format = frame.format.name
    if not is_readable_format(pixel_format):
        raise MediaError(
            "media.codec_unsupported",
            f"{path} uses the pixel format {pixel_format}, which is not supported.",
            "Convert the video to H.264, HEVC, VP9 or AV1 first.",
            pixel_format=pixel_format,
        )
    samples = samples_of(pixel_format)
    rotation, mirrored = orientation(frame)
    colour = colour_tags(frame, context, rotation, mirrored)
    if samples.kind == "yuv" and colour.matrix not in READABLE_MATRICES:
        raise MediaError(
            "media.colour_unsupported",
            f"{path} uses the colour matrix {colour.matrix} of H.273, which is not supported.",
            "Convert the video to BT.709, or to BT.2020 with non-constant luminance, first.",
            matrix=colour.matrix,
        )
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
        bit_depth=samples.bits,
        time_base=stream.time_base,
        average_rate=stream.average_rate or stream.guessed_rate or None,
        rotation_degrees=rotation,
        mirrored=mirrored,
        sample_aspect_ratio=sample_aspect_ratio(stream, rotation),
        colour=colour,
        hdr=hdr_metadata(frame),
        transparent=_is_transparent(stream, frame),
        interlaced=frame.interlaced_frame or context.field_order > 1,
        language=stream.language,
    )


def _is_transparent(stream: VideoStream, frame: VideoFrame) -> bool:
    """Whether pixels may be transparent: by their format, by a colour of their palette, or by a layer of its own."""
    if samples_of(frame.format.name).alpha or stream.metadata.get("alpha_mode") == "1":
        return True
    return frame.format.has_palette and bool(
        (np.frombuffer(memoryview(frame.planes[1]), np.uint32) >> 24 < _OPAQUE).any()
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
