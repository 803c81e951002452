"""A frame in its own pixel format: the planes as the decoder gave them, upright.

Whole frames never go through BGR: only the rectangle around a face is converted, and only that rectangle is
written back, so everything outside it stays bit-equal (docs/architecture.md, "Native planes").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from faceflow.media.facts import ColourTags

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(slots=True)
class NativeFrame:
    """One upright frame.

    Attributes:
        number: frame number in the index, from 0.
        pts: presentation timestamp in ticks of the index's time base.
        planes: Y, U, V of a YUV format, or B, G, R of a planar RGB one (`gbrp` here in the order B, G, R).
            8-bit formats hold uint8, others uint16 with the value in the low bits; each plane is (rows, columns),
            where a row is contiguous and the next one may lie further on. Chroma planes are (rows / 2^v,
            columns / 2^h), rounded up. Planes that are only to be looked at are marked as not writeable.
        pixel_format: FFmpeg's name, such as `yuv420p`, `yuv420p10le`, `yuv444p`, `gbrp`, `gray`.
        bit_depth: 8 to 16.
        chroma_shift_x: h above, log2 of horizontal subsampling: 0 or 1.
        chroma_shift_y: v above, log2 of vertical subsampling: 0 or 1.
        colour: matrix and range by which the planes are read; `yuvj*` formats are full range.
        picture: FFmpeg's frame whose memory the planes are, when it can go to an encoder as it is.
    """

    number: int
    pts: int
    planes: list[Plane]
    pixel_format: str
    bit_depth: int
    chroma_shift_x: int
    chroma_shift_y: int
    colour: ColourTags
    picture: VideoFrame | None = None

    @property
    def height_px(self) -> int:
        """Rows of the first plane."""
        return int(self.planes[0].shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the first plane."""
        return int(self.planes[0].shape[1])
