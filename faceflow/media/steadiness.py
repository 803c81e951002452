"""Watches that a picture stays what its first frame said: size, format, colours, proportions, orientation.

Streams may describe themselves anew in the middle: a recording goes from 4:3 to 16:9, clips from two cameras were put
one after the other. A result says once how its picture is to be shown. So a change that viewers would see is refused,
with the frame where it happens; one that changes nothing for them (the usual colours are stated from the second
minute on) is passed over. Interlacing is no refusal: such frames are counted, and deinterlaced at the entrance.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from faceflow.errors import MediaError
from faceflow.media.facts import MediaInfo

_Look = tuple[int, int, int, int, int, Fraction | None]

_NOT_STATED = 2
_HD_HEIGHT = 720
_BT709, _BT601 = 1, 6
_FULL_RANGE = 2
_SAME_MATRICES = {5: _BT601}  # BT.470 BG and SMPTE 170M have equal coefficients
_SAME_TRANSFERS = {6: _BT709, 14: _BT709, 15: _BT709}  # one curve under four names
_SAME_PRIMARIES = {5: 6, 7: 6}  # of PAL and NTSC, which players show alike
_USUAL_PRIMARIES = frozenset({_NOT_STATED, 1, 5, 6, 7})
_NAMES = ("colour matrix", "colour range", "transfer curve", "colour primaries", "rotation", "sample aspect ratio")


class SteadyPicture:
    """Compares every frame of one video with the first.

    Attributes:
        interlaced: frames so far that are stored as two fields.
    """

    def __init__(self, path: Path, info: MediaInfo) -> None:
        self._path = path
        video = info.video
        self._size = (video.coded_width_px, video.coded_height_px, video.pixel_format)
        self._first: _Look | None = None
        self._accepted: _Look | None = None
        self.interlaced = 0

    def check(self, number: int, frame: VideoFrame, context: VideoCodecContext) -> None:
        """Looks at the next frame. Raises `media.size_changes` or `media.picture_changes`."""
        size = (frame.width, frame.height, frame.format.name)
        if size != self._size:
            raise MediaError(
                "media.size_changes",
                f"The picture of {self._path} changes from {self._size} to {size} at frame {number}.",
                "Export the video with one picture size and format throughout.",
                frame=number,
            )
        self.interlaced += frame.interlaced_frame
        look: _Look = (
            int(frame.colorspace),
            int(frame.color_range),
            int(frame.color_trc),
            int(frame.color_primaries),
            frame.rotation,
            context.sample_aspect_ratio,
        )
        if look == self._accepted:
            return
        if self._first is None:
            self._first = look
        elif (changed := _visible_change(self._first, look, frame)) is not None:
            raise MediaError(
                "media.picture_changes",
                f"The picture of {self._path} changes its description at frame {number}: {changed}.",
                "Cut the video there and process the pieces one by one, or convert it so that it is the same "
                "throughout.",
                frame=number,
            )
        self._accepted = look


def _visible_change(first: _Look, look: _Look, frame: VideoFrame) -> str | None:
    """What viewers would see differ, in words; None where it looks the same."""
    for name, before, now in zip(_NAMES, _as_shown(first, frame), _as_shown(look, frame), strict=True):
        usual = name == "colour primaries" and _NOT_STATED in {before, now} and {before, now} <= _USUAL_PRIMARIES
        if before != now and not usual:
            return f"its {name} changes from {before} to {now}"
    return None


def _as_shown(look: _Look, frame: VideoFrame) -> tuple[object, ...]:
    """What players make of a description: what is not stated is what it usually is."""
    matrix, colour_range, transfer, primaries, rotation, ratio = look
    if matrix == _NOT_STATED:
        matrix = _BT709 if min(frame.height, frame.width) >= _HD_HEIGHT else _BT601
    if colour_range == 0:
        colour_range = _FULL_RANGE if frame.format.name.startswith("yuvj") else 1
    if transfer == _NOT_STATED:
        transfer = _BT709
    return (
        _SAME_MATRICES.get(matrix, matrix),
        colour_range,
        _SAME_TRANSFERS.get(transfer, transfer),
        _SAME_PRIMARIES.get(primaries, primaries),
        rotation,
        ratio or Fraction(1),
    )
