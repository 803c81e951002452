"""Pixel formats: what each one holds, which are read as they are, and what the others become.

A format is *native* when its planes can be handed to x264 or x265 unchanged. Everything else that can be decoded is
converted once, at the entrance (`conversion`), to the native format that loses least (`mezzanine_format`). What a
format holds is read from its description (`samples_of`): how many colour components, how many bits, how far chroma
is apart. Packed, planar, semi-planar, big or little endian make no difference there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import av

NATIVE_FORMATS = frozenset(
    {
        "gray", "gray10le",
        "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p",
        "yuv420p10le", "yuv422p10le", "yuv444p10le",
    }
)  # fmt: skip
"""Formats whose planes go to the encoder bit by bit."""

_SIDE = 16


@dataclass(frozen=True, slots=True)
class Samples:
    """What the pixels of a format are made of.

    Attributes:
        kind: one gray component, RGB in any order (also palettes, mosaics of a sensor, and XYZ), or luma with chroma.
        bits: of the deepest colour component.
        alpha: whether there is a transparency component.
        shift_x: log2 of horizontal chroma subsampling: 0 to 2.
        shift_y: log2 of vertical chroma subsampling: 0 to 2.
    """

    kind: Literal["gray", "rgb", "yuv"]
    bits: int
    alpha: bool
    shift_x: int = 0
    shift_y: int = 0

    @property
    def sampling(self) -> str:
        """How people write the subsampling, such as `4:2:0`."""
        steps = {(0, 0): "4:4:4", (1, 0): "4:2:2", (1, 1): "4:2:0", (0, 1): "4:4:0", (2, 0): "4:1:1", (2, 2): "4:1:0"}
        return steps.get((self.shift_x, self.shift_y), f"1/{1 << self.shift_x} by 1/{1 << self.shift_y}")


@lru_cache(maxsize=512)
def samples_of(name: str) -> Samples:
    """What a format holds. Raises ValueError for a name that FFmpeg does not know, or samples not kept in memory."""
    video_format = av.VideoFormat(name, _SIDE, _SIDE)
    colour = [component for component in video_format.components if not component.is_alpha]
    if not colour:
        raise ValueError(f"{name} has no samples in memory")
    alpha = len(colour) < len(video_format.components)
    # A mosaic states a share of its bits for each colour; every sample has all of them.
    bits = (16 if "16" in name else 8) if is_mosaic(name) else max(component.bits for component in colour)
    if video_format.is_rgb or video_format.has_palette or name.startswith("xyz"):
        return Samples("rgb", bits, alpha)
    if len(colour) == 1:
        return Samples("gray", bits, alpha)
    chroma = colour[1]
    shift_x, shift_y = ((_SIDE // side).bit_length() - 1 for side in (chroma.width, chroma.height))
    return Samples("yuv", bits, alpha, shift_x, shift_y)


def is_mosaic(name: str) -> bool:
    """Whether every pixel has one colour only, as a camera's sensor sees them."""
    return name.startswith("bayer_")


def is_floating(name: str) -> bool:
    """Whether samples are floating-point numbers."""
    return "f16" in name or "f32" in name


def mezzanine_format(name: str, *, sideways: bool) -> str:
    """The native format that a frame of format `name` is converted to at the entrance.

    Args:
        name: FFmpeg's name of the decoded format.
        sideways: the picture is turned by 90 or 270 degrees, which 4:2:2 cannot follow on its own grid.
    """
    source = samples_of(name)
    turned_apart = sideways and source.shift_x != source.shift_y
    if name in NATIVE_FORMATS and not turned_apart:
        return name
    suffix = "10le" if source.bits > 8 else ""
    if source.kind == "gray":
        return f"gray{suffix}"
    whole = "422" if source.shift_x else "444"
    sampling = "420" if source.shift_y or source.shift_x > 1 or turned_apart else whole
    return f"yuv{sampling}p{suffix}"


def plane_format(name: str) -> str:
    """The format's name without the deprecated full-range mark: `yuvj420p` and `yuv420p` hold the same planes."""
    return name.replace("yuvj", "yuv")
