"""What codecs are called, and which of them are read as a video's picture.

FFmpeg has two names for most things: a codec's (`flv1`, `msmpeg4v3`, `mp3`, `dts`) and that of the decoder which
happens to read it (`flv`, `msmpeg4`, `mp3float`, `dca`). Tables here and in the modules beside list codecs, so every
comparison asks `codec_name`, never a decoder.
"""

from __future__ import annotations

from av.stream import Stream

VIDEO_CODECS = frozenset(
    {
        "h264", "hevc", "vvc", "av1", "vp8", "vp9", "theora",
        "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "h263", "flv1", "wmv1", "wmv2", "wmv3",
        "prores", "dnxhd", "cfhd", "dvvideo", "mjpeg", "jpeg2000",
        "ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "png", "qtrle", "rawvideo", "v210",
    }
)  # fmt: skip
"""Video codecs that are decoded. A short list: every decoder is code that an untrusted file can reach.

Each has a file in `tests/media/test_codecs.py`; what no test can make or find is not on the list.
"""

STILL_CODECS = frozenset(
    {"mjpeg", "png", "apng", "bmp", "gif", "tiff", "webp", "jpeg2000", "jpegls", "jpegxl", "targa", "pcx", "ppm"}
)
"""Codecs of cover pictures and posters: a track of one of these that holds a single picture is no film."""


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec (not of the decoder: `mp3`, not `mp3float`), or `unknown`."""
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name
