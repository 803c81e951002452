"""The before/after sheet: the same moments of target and result, one above the other, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame

from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.index import index_frames
from faceflow.media.picture import is_picture, read_picture
from faceflow.media.probe import probe
from faceflow.media.reader import read_decoded
from faceflow.media.thumbnail import upright_bgr
from faceflow.media.verify import written_index
from faceflow.publish import publishing
from faceflow.settings import LimitSettings
from faceflow.stages.results import Mezzanine, PictureSubject
from faceflow.vision.shapes import Picture

COLUMNS = 4
CELL_LONG_SIDE_PX = 360
_GAP_PX = 6
_CAPTION_PX = 26
_PAPER = 250
_INK = (40, 40, 40)


def sampled_frames(frames: int, count: int = COLUMNS) -> tuple[int, ...]:
    """Up to `count` frame numbers spread over a clip, away from its very ends."""
    return tuple(sorted({int((part + 0.5) / count * frames) for part in range(count)}))


def before_after_jpeg(mezzanine: Mezzanine, output: Path, limits: LimitSettings, quality: int = 80) -> bytes:
    """The sheet of a job that has just finished, as JPEG bytes. Raises as `probe`, `read_picture`, `read_decoded`."""
    subject = mezzanine.subject
    if isinstance(subject, PictureSubject):
        sheet = _sheet([_picture_cell(mezzanine.video, limits)], [_picture_cell(output, limits)], [""])
    else:
        sheet = _video_sheet(mezzanine.video, subject.media, subject.frame_index(), output, limits)
    return cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def before_after_sheet(target: Path, output: Path, limits: LimitSettings, destination: Path) -> None:
    """Writes the sheet of any target and its result as PNG. Raises as `before_after_jpeg` and `publishing`."""
    if is_picture(target):
        sheet = _sheet([_picture_cell(target, limits)], [_picture_cell(output, limits)], [""])
    else:
        media = probe(target, limits)
        sheet = _video_sheet(target, media, index_frames(target, media, limits), output, limits)
    with publishing(destination) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _video_sheet(target: Path, media: MediaInfo, index: FrameIndex, output: Path, limits: LimitSettings) -> Picture:
    """Frame i of the target over frame i of the result, which has times of its own: moved, and rounded."""
    numbers = sampled_frames(index.frames)
    own = written_index(output)
    before = _frames(target, media, index, numbers)
    after = _frames(output, probe(output, limits), own, numbers)
    return _sheet(before, after, [f"{float(own.time_s(number)):.2f} s" for number in numbers])


def _frames(path: Path, media: MediaInfo, index: FrameIndex, numbers: Sequence[int]) -> list[Picture]:
    pictures = []
    for number in numbers:
        for _, frame in read_decoded(path, media, index, number, 1):
            pictures.append(_cell(frame, media))
    return pictures


def _cell(frame: VideoFrame, media: MediaInfo) -> Picture:
    return _sized(upright_bgr(frame, media.video, CELL_LONG_SIDE_PX)[0], CELL_LONG_SIDE_PX)


def _picture_cell(path: Path, limits: LimitSettings) -> Picture:
    return _sized(read_picture(path, limits).bgr(), 2 * CELL_LONG_SIDE_PX)


def _sized(picture: Picture, long_side_px: int) -> Picture:
    """The picture with this long side; small clips are enlarged, so that there is something to see."""
    scale = long_side_px / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)


def _sheet(before: Sequence[Picture], after: Sequence[Picture], captions: Sequence[str]) -> Picture:
    """Two rows of equal cells on light paper, with the time under each column."""
    rows = [_row("before", before), _row("after", after)]
    width = max(row.shape[1] for row in rows)
    footer = np.full((_CAPTION_PX, width, 3), _PAPER, np.uint8)
    left = _GAP_PX
    for caption, cell in zip(captions, before, strict=True):
        _write(footer, caption, left)
        left += cell.shape[1] + _GAP_PX
    padded = [_widened(row, width) for row in rows]
    return np.concatenate([*padded, footer])


def _row(title: str, cells: Sequence[Picture]) -> Picture:
    height = max(cell.shape[0] for cell in cells) + _CAPTION_PX
    width = sum(cell.shape[1] + _GAP_PX for cell in cells) + _GAP_PX
    row = np.full((height, width, 3), _PAPER, np.uint8)
    _write(row, title, _GAP_PX)
    left = _GAP_PX
    for cell in cells:
        row[_CAPTION_PX : _CAPTION_PX + cell.shape[0], left : left + cell.shape[1]] = cell
        left += cell.shape[1] + _GAP_PX
    return row


def _widened(row: Picture, width: int) -> Picture:
    return cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(_PAPER,) * 3).astype(
        np.uint8
    )


def _write(paper: Picture, text: str, left: int) -> None:
    cv2.putText(paper, text, (left, _CAPTION_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
