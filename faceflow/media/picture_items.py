"""Pixels of a HEIF or AVIF picture: its coded items through FFmpeg's decoders, put together, cropped and turned.

The container is never given to FFmpeg: the items' bytes go to the HEVC or AV1 decoder one by one, with the set-up that
belongs to them, one thread, and an order to refuse larger pictures than the item states before they are allocated. An
item is one picture; one that hides many (a few bytes each, all of the full size) is refused by counting.

The planes of all tiles are laid side by side before chroma is enlarged, so no seams show. Samples leave as R, G, B in
the range of their type: 8 bits as they are, 10 and 12 bits spread over 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, cast

import numpy as np
from av.codec import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from faceflow.media.facts import ColourTags
from faceflow.media.native import Plane
from faceflow.media.picture_cicp import Cicp
from faceflow.media.picture_yuv import MATRICES, Coded, rgb_of, spread
from faceflow.media.tags import colour_tags

Codec = Literal["hevc", "av1"]

_DECODERS = {"hevc": "hevc", "av1": "libdav1d"}
_CODING_MARGIN_PX = 128  # coded sides are multiples of the codec's largest block
_MAX_FRAMES = 16  # a picture in layers, and pictures that are only predicted from
_FRAME_OBUS = frozenset({3, 6})
_NOT_STATED = 2
_LAYOUTS = {"gray": None, "420": (1, 1), "422": (1, 0), "444": (0, 0), "gbr": (0, 0)}


@dataclass(frozen=True, slots=True)
class CodedItem:
    """One coded picture inside the file.

    Attributes:
        codec: how it is coded.
        setup: the decoder's set-up (`hvcC` or `av1C`).
        extents: first byte and length of each piece of its data.
        width_px: as `ispe` states.
        height_px: as `ispe` states.
    """

    codec: Codec
    setup: bytes
    extents: tuple[tuple[int, int], ...]
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One step from the decoded picture to the upright one.

    Attributes:
        quarter_turns: against the clock.
        mirrored: which sides change places, or None.
        crop: width, height, and the offset of the middle to the right and down; None for the whole.
    """

    quarter_turns: int = 0
    mirrored: Literal["left-right", "top-bottom"] | None = None
    crop: tuple[Fraction, Fraction, Fraction, Fraction] | None = None

    def window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what stays, within a picture of this size."""
        if self.crop is None:
            return 0, 0, width, height
        wide, high, right_by, down_by = self.crop
        left, top = int(right_by + (width - wide) / 2), int(down_by + (height - high) / 2)
        left, top = max(left, 0), max(top, 0)
        return left, top, min(left + int(wide), width), min(top + int(high), height)


@dataclass(frozen=True, slots=True)
class HeifPicture:
    """What the primary item is made of.

    Attributes:
        width_px: before `turns`.
        height_px: before `turns`.
        columns: of the grid; 1 for a single item.
        tiles: row by row.
        turns: to be applied in this order.
        bit_depth: 8, 10 or 12.
        cicp: colours that the file states by numbers, or None.
        icc: colour profile, or None.
        alpha: transparency, of the same size; None where it has none.
        premultiplied: whether the colours were multiplied with it.
    """

    width_px: int
    height_px: int
    columns: int
    tiles: tuple[CodedItem, ...]
    turns: tuple[Turn, ...]
    bit_depth: int
    cicp: Cicp | None
    icc: bytes | None
    alpha: HeifPicture | None = None
    premultiplied: bool = False

    def with_alpha(self, alpha: HeifPicture, *, premultiplied: bool) -> HeifPicture:
        """The same with its transparency."""
        return replace(self, alpha=alpha, premultiplied=premultiplied)

    def turned(self, turns: tuple[Turn, ...], cicp: Cicp | None, icc: bytes | None) -> HeifPicture:
        """The same with more steps at the end; colours that are given here go before its own."""
        return replace(self, turns=(*self.turns, *turns), cicp=cicp or self.cicp, icc=icc or self.icc)

    def upright_size(self) -> tuple[int, int]:
        """Width and height after all `turns`."""
        width, height = self.width_px, self.height_px
        for turn in self.turns:
            left, top, right, bottom = turn.window(width, height)
            width, height = right - left, bottom - top
            if turn.quarter_turns % 2:
                width, height = height, width
        return width, height


class UndecodableError(Exception):
    """The items contradict what the file states; the text completes "it is damaged: ..."."""


class UnknownColoursError(Exception):
    """The picture's colours have no meaning here; the text names them."""


def decode_items(data: bytes, picture: HeifPicture) -> tuple[Plane, Plane | None, Cicp]:
    """Decodes the picture and makes it upright.

    Returns:
        samples: uint8 or uint16 (H, W, C), C = 1 gray or 3 in the order B, G, R.
        alpha: (H, W) of the same type, or None.
        colours: what file and bit stream state together; "not stated" where they say nothing.

    Raises:
        UndecodableError, UnknownColoursError: as they say.
        av.error.FFmpegError: the decoder gave up.
    """
    coded = _decoded(data, picture)
    samples = rgb_of(coded)
    alpha = None if picture.alpha is None else _alpha(data, picture.alpha, samples.dtype)
    if alpha is not None and picture.premultiplied:
        samples = _divided(samples, alpha)
    colours = Cicp(coded.tags.primaries, coded.tags.transfer, coded.tags.matrix, coded.tags.colour_range == 2)
    upright = _turned(samples, picture.turns)
    return upright, None if alpha is None else _turned(alpha, picture.turns), colours


def _alpha(data: bytes, picture: HeifPicture, dtype: np.dtype[Any]) -> Plane:
    coded = _decoded(data, picture)
    table = spread(picture.bit_depth, dtype)
    return cast(Plane, table[np.minimum(coded.planes[0], len(table) - 1)])


def _divided(samples: Plane, alpha: Plane) -> Plane:
    """Colours that were multiplied with alpha, as they were before."""
    top = int(np.iinfo(samples.dtype).max)
    result = np.empty_like(samples)
    for first in range(0, samples.shape[0], 64):
        rows = samples[first : first + 64].astype(np.uint64)
        share = np.maximum(alpha[first : first + 64, :, None].astype(np.uint64), 1)
        result[first : first + 64] = np.minimum((rows * top + share // 2) // share, top)
    return result


def _turned(pixels: Any, turns: tuple[Turn, ...]) -> Plane:
    for turn in turns:
        left, top, right, bottom = turn.window(pixels.shape[1], pixels.shape[0])
        pixels = np.rot90(pixels[top:bottom, left:right], turn.quarter_turns)
        if turn.mirrored is not None:
            pixels = pixels[:, ::-1] if turn.mirrored == "left-right" else pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decoded(data: bytes, picture: HeifPicture) -> Coded:
    """All tiles side by side, as the decoder gave them."""
    canvas: Coded | None = None
    for number, tile in enumerate(picture.tiles):
        frame, context = _frame(data, tile)
        if canvas is None:
            canvas = _canvas(frame, context, picture)
        row, column = divmod(number, picture.columns)
        if frame.format.name != canvas.pixel_format:
            raise UndecodableError("its tiles are coded in different ways")
        for plane, whole, shifts in zip(_planes(frame), canvas.planes, canvas.shifts, strict=True):
            left, top = column * tile.width_px >> shifts[0], row * tile.height_px >> shifts[1]
            place = whole[top : top + plane.shape[0], left : left + plane.shape[1]]
            place[:] = plane[: place.shape[0], : place.shape[1]]
    if canvas is None:
        raise UndecodableError("it contains no picture")
    return canvas


def _canvas(frame: VideoFrame, context: VideoCodecContext, picture: HeifPicture) -> Coded:
    name = frame.format.name
    layout = next((kind for kind in _LAYOUTS if kind in name), None)
    depth = frame.format.components[0].bits
    if layout is None or depth != picture.bit_depth:
        raise UndecodableError(f"it is coded as {name}, unlike its header states")
    tile = picture.tiles[0]
    chroma = _LAYOUTS[layout]
    shifts = [(0, 0), *([] if chroma is None else [chroma] * 2)]
    x, y = shifts[-1]
    if len(picture.tiles) > 1 and ((tile.width_px & x) or (tile.height_px & y)):
        raise UndecodableError("its tiles have odd sides")
    dtype: Any = np.uint8 if depth == 8 else np.uint16
    planes: list[Plane] = [
        np.zeros((_shifted(picture.height_px, down), _shifted(picture.width_px, right)), dtype)
        for right, down in shifts
    ]
    return Coded(planes, tuple(shifts), name, depth, _tags(frame, context, picture, layout))


def _tags(frame: VideoFrame, context: VideoCodecContext, picture: HeifPicture, layout: str) -> ColourTags:
    """The file's own statement goes before the bit stream's."""
    found = colour_tags(frame, context, 0, False)
    stated = picture.cicp
    if stated is not None:
        found = ColourTags(
            matrix=stated.matrix,
            primaries=stated.primaries,
            transfer=stated.transfer,
            colour_range=2 if stated.full_range else 1,
            chroma_location=found.chroma_location,
        )
    usable = {*MATRICES, 0} if layout == "444" else MATRICES
    if layout not in ("gray", "gbr") and found.matrix not in usable:
        raise UnknownColoursError(f"the YCbCr matrix {found.matrix}")
    return found


def _shifted(size: int, shift: int) -> int:
    return (size + (1 << shift) - 1) >> shift


def _frame(data: bytes, item: CodedItem) -> tuple[VideoFrame, VideoCodecContext]:
    content = b"".join(data[begin : begin + length] for begin, length in item.extents)
    if item.codec == "av1" and _frames_in(content) > _MAX_FRAMES:
        raise UndecodableError("it contains several pictures where one is expected")
    context = cast(VideoCodecContext, CodecContext.create(_DECODERS[item.codec], "r"))
    context.extradata = item.setup
    most = (item.width_px + _CODING_MARGIN_PX) * (item.height_px + _CODING_MARGIN_PX)
    context.options = {"max_pixels": str(most), "err_detect": "explode"}
    context.thread_count, context.thread_type = 1, "NONE"
    frames = [*context.decode(Packet(content)), *context.decode(None)]
    if not frames or (item.codec == "hevc" and len(frames) > 1):
        raise UndecodableError(f"{len(frames)} pictures were found where one is expected")
    frame = frames[-1]
    if frame.is_corrupt:
        raise UndecodableError("part of its pixels is missing")
    if (frame.width, frame.height) != (item.width_px, item.height_px):
        raise UndecodableError("its size differs from the size in its header")
    return frame, context


def _frames_in(content: bytes) -> int:
    """Frames in an AV1 item, by its OBUs' own lengths; a damaged one ends the count."""
    found = position = 0
    while position < len(content):
        header = content[position]
        found += (header >> 3) & 15 in _FRAME_OBUS
        position += 2 if header & 4 else 1
        if not header & 2:  # no length: the last one
            break
        length = shift = 0
        while position < len(content) and shift < 56:
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        position += length
    return found


def _planes(frame: VideoFrame) -> Iterator[Plane]:
    """The planes of a decoded frame without their padding: Y, U, V, or G, B, R, or gray."""
    wide = frame.format.components[0].bits > 8
    for plane in frame.planes:
        flat: Any = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
        stride = plane.line_size // flat.itemsize
        yield flat[: stride * plane.height].reshape(plane.height, stride)[:, : plane.width]
