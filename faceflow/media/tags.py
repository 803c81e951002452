"""What a decoded frame says about how it is to be shown: orientation, colour, HDR metadata.

Re-encoding drops all of this, so it is read here once and written back by `writer`. Rotation is different: it
is not carried but applied to the planes, so whatever depends on the direction (the chroma location, the sample
aspect ratio) is turned with them.
"""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from typing import Literal

from av.sidedata.sidedata import Type
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from faceflow.media.conversion import NOT_STATED, filter_graph
from faceflow.media.facts import ColourTags, HdrMetadata
from faceflow.media.ffmpeg_log import INFO, heard_log
from faceflow.media.formats import samples_of
from faceflow.media.side_data import side_data_of

Rotation = Literal[0, 90, 180, 270]

# What ITU-T H.273 defines for YCbCr and the encoders write; a damaged header may say anything.
_MATRICES = frozenset({1, 2, *range(4, 18)})
_FULL = 2
_PRIMARIES = frozenset({1, 2, *range(4, 13), 22})
_TRANSFERS = frozenset({1, 2, *range(4, 19)})
_CHROMA_LOCATIONS = {"left": 1, "center": 2, "topleft": 3, "top": 4, "bottomleft": 5, "bottom": 6}
# (column, row) of a chroma sample between the four luma samples that it belongs to, in half samples: 0, 1 or 2.
_CHROMA_POSITIONS = {1: (0, 1), 2: (1, 1), 3: (0, 0), 4: (1, 0), 5: (0, 2), 6: (1, 2)}


def orientation(frame: VideoFrame) -> tuple[Rotation, bool]:
    """How a decoded frame is made upright: turn it clockwise by the angle, then mirror it left to right if True.

    Read from the display matrix [a b u; c d v; x y w], which sends (x, y) to (a x + c y, b x + d y), y downwards.
    Angles between the quarter turns are taken as the nearest one.
    """
    side_data = _side_data(frame, Type.DISPLAYMATRIX)
    if side_data is None:
        return 0, False
    a, b, _, c, d = struct.unpack_from("<5i", side_data)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (0 if a + d >= 0 else 180), mirrored
    return (90 if b - c >= 0 else 270), mirrored


def sample_aspect_ratio(stream: VideoStream, rotation: Rotation) -> Fraction:
    """Width over height of one sample of the upright picture; 1 where the file does not say."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if ratio <= 0:
        return Fraction(1)
    return 1 / ratio if rotation in {90, 270} else ratio


def colour_tags(frame: VideoFrame, context: VideoCodecContext, rotation: Rotation, mirrored: bool) -> ColourTags:
    """Colour description of the upright picture: the frame's own tags, the track's where the frame has none."""
    colour_range = int(frame.color_range) or int(context.color_range)
    # A gray picture uses all codes unless it says otherwise, one of two codes always; silence of a video is limited.
    samples = samples_of(frame.format.name)
    whole_gray = samples.kind == "gray" and (not colour_range or samples.bits == 1)
    if frame.format.name.startswith("yuvj") or whole_gray:
        colour_range = _FULL
    matrix = _stated(frame.colorspace, context.colorspace, _MATRICES)
    location = turned_location(_chroma_location(frame), rotation, mirrored)
    return ColourTags(
        matrix=matrix,
        primaries=_stated(frame.color_primaries, context.color_primaries, _PRIMARIES),
        transfer=_stated(frame.color_trc, context.color_trc, _TRANSFERS),
        colour_range=colour_range,
        chroma_location=location,
    )


def _stated(of_frame: int, of_track: int, known: frozenset[int]) -> int:
    stated = int(of_track) if int(of_frame) == NOT_STATED else int(of_frame)
    return stated if stated in known else NOT_STATED


def _chroma_location(frame: VideoFrame) -> int:
    # PyAV does not expose this field; the showinfo filter prints it (`cl:topleft`) on FFmpeg's log.
    graph = filter_graph(frame, [("showinfo", "checksum=0")])
    with heard_log(INFO) as lines:
        graph.push(frame)
        graph.pull()
    found = re.search(r"\bcl:(\w+)", " ".join(message for _, name, message in lines if name == "showinfo"))
    return _CHROMA_LOCATIONS.get(found[1], 0) if found else 0


def turned_location(location: int, rotation: Rotation, mirrored: bool) -> int:
    """Chroma location after turning and mirroring; 0 (not stated) where no code exists, such as right of centre."""
    if location not in _CHROMA_POSITIONS:
        return 0
    column, row = _CHROMA_POSITIONS[location]
    for _ in range(rotation // 90):
        column, row = 2 - row, column
    if mirrored:
        column = 2 - column
    return next((code for code, position in _CHROMA_POSITIONS.items() if position == (column, row)), 0)


def hdr_metadata(frame: VideoFrame) -> HdrMetadata:
    """HDR10 static metadata of a frame in x265's notation: 0.00002 for chromaticities, 0.0001 cd/m2 for luminance."""
    mastering = _side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    light = _side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    return HdrMetadata(
        mastering_display=None if mastering is None else _mastering_display(mastering),
        content_light=None if light is None else "{},{}".format(*struct.unpack_from("<2I", light)),
    )


def _side_data(frame: VideoFrame, kind: Type) -> bytes | None:
    found = side_data_of(frame).get(kind)
    return None if found is None else bytes(found)


def _mastering_display(data: bytes) -> str | None:
    # AVMasteringDisplayMetadata: red, green, blue, white as (x, y), min and max luminance, all AVRational; two flags.
    numbers = struct.unpack_from("<20i2i", data)
    if not (numbers[20] and numbers[21]):
        return None
    pairs = list(zip(numbers[0:20:2], numbers[1:20:2], strict=True))

    def scaled(position: int, units: int) -> int:
        numerator, denominator = pairs[position]
        return round(Fraction(numerator, denominator or 1) * units)

    red, green, blue, white = (f"({scaled(2 * i, 50_000)},{scaled(2 * i + 1, 50_000)})" for i in range(4))
    return f"G{green}B{blue}R{red}WP{white}L({scaled(9, 10_000)},{scaled(8, 10_000)})"
