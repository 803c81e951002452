"""Pixel formats: which are read as they are, which the encoders take, and what the others become.

A format is *native* when its planes can be handed to x264 or x265 unchanged. Everything else that can be decoded is
converted once, at the entrance, to the native format that loses least (`mezzanine_format`).
"""

from __future__ import annotations

import av

NATIVE_FORMATS = frozenset(
    {
        "gray", "gray10le",
        "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p",
        "yuv420p10le", "yuv422p10le", "yuv444p10le",
    }
)  # fmt: skip
"""Formats whose planes go to the encoder bit by bit."""


def is_readable_format(name: str) -> bool:
    """Whether frames of this format can be handled: known to FFmpeg, stored in memory, with integer samples."""
    try:
        video_format = av.VideoFormat(name, 16, 16)
    except ValueError:
        return False
    return bool(video_format.components) and "f16" not in name and "f32" not in name


def has_alpha(name: str) -> bool:
    """Whether a format has a transparency plane."""
    return any(component.is_alpha for component in av.VideoFormat(name, 16, 16).components)


def mezzanine_format(name: str, *, sideways: bool) -> str:
    """The native format that a frame of format `name` is converted to at the entrance.

    Args:
        name: FFmpeg's name of the decoded format.
        sideways: the picture is turned by 90 or 270 degrees, which 4:2:2 cannot follow on its own grid.
    """
    if name in NATIVE_FORMATS and not (sideways and "422" in name):
        return name
    source = av.VideoFormat(name, 16, 16)
    depth = max(component.bits for component in source.components)
    suffix = "10le" if depth > 8 else ""
    chroma = [component for component in source.components if component.is_chroma]
    if source.is_rgb or name.startswith("pal"):
        sampling = "444"
    elif not chroma:
        return "gray10le" if depth > 8 else "gray"
    elif chroma[0].height < 16 or chroma[0].width < 8 or sideways:
        sampling = "420"
    else:
        sampling = "422" if chroma[0].width < 16 else "444"
    return f"yuv{sampling}p{suffix}"


def plane_format(name: str) -> str:
    """The format's name without the deprecated full-range mark: `yuvj420p` and `yuv420p` hold the same planes."""
    return name.replace("yuvj", "yuv")
