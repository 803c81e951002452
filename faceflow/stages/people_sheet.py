"""The people sheet: everybody who was found in a target, each with the number by which a face map names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from faceflow.errors import OutputError
from faceflow.locations import local_path
from faceflow.media.picture import PICTURE_ENDINGS
from faceflow.media.reader import read_decoded
from faceflow.publish import publishing, require_writable
from faceflow.stages.census import PictureCensus, VideoCensus
from faceflow.vision.person import Person
from faceflow.vision.shapes import FrameView, Picture
from faceflow.vision.view import DecodedView, PictureView

COLUMNS = 6
THUMBNAIL_PX = 192
_AROUND = 1.6
"""Side of a thumbnail in face heights."""
_GAP_PX = 10
_CAPTION_PX = 44
_PAPER = 250
_INK = (40, 40, 40)
_MARK = (200, 90, 20)


def check_sheet(destination: Path, target: Path) -> None:
    """Whether the sheet can be written where it is wanted.

    Raises:
        OutputError: `output.ending_unknown`, `output.folder_missing`, `output.is_input`, and as `require_writable`.
    """
    if destination.suffix.lower() not in PICTURE_ENDINGS:
        raise OutputError(
            "output.ending_unknown",
            f"The sheet {destination.name!r} does not end like a picture format.",
            f"Use a name that ends in {', '.join(sorted(PICTURE_ENDINGS))}.",
        )
    if not destination.parent.is_dir():
        raise OutputError(
            "output.folder_missing",
            f"The folder {str(destination.parent)!r} of the sheet does not exist.",
            "Create the folder, or choose another one with -o.",
        )
    if destination.exists() and target.exists() and destination.samefile(target):
        raise OutputError(
            "output.is_input",
            f"The sheet {str(destination)!r} is the target itself and would overwrite it.",
            "Choose another name with -o.",
        )
    require_writable(destination)


def write_people_sheet(target: str, census: PictureCensus | VideoCensus, destination: Path) -> None:
    """Writes the sheet. Raises as `publishing` and `read_decoded`."""
    thumbnails = [_thumbnail(view, person) for view, person in _views(local_path(target), census)]
    sheet = people_sheet(census.people, thumbnails, timed=isinstance(census, VideoCensus))
    with publishing(destination) as temporary:
        temporary.write_bytes(cv2.imencode(destination.suffix.lower(), sheet)[1].tobytes())


def people_sheet(people: Sequence[Person], thumbnails: Sequence[Picture], *, timed: bool = True) -> Picture:
    """A thumbnail of everybody with their number and, where `timed`, first sight and time on screen: BGR, uint8."""
    columns = min(COLUMNS, max(1, len(people)))
    rows = -(-len(people) // columns)
    cell = THUMBNAIL_PX + _GAP_PX, THUMBNAIL_PX + _GAP_PX + (_CAPTION_PX if timed else 0)
    sheet = np.full((rows * cell[1] + _GAP_PX, columns * cell[0] + _GAP_PX, 3), _PAPER, np.uint8)
    for place, (person, thumbnail) in enumerate(zip(people, thumbnails, strict=True)):
        top, left = (_GAP_PX + step * side for step, side in zip(divmod(place, columns), reversed(cell), strict=True))
        sheet[top : top + THUMBNAIL_PX, left : left + THUMBNAIL_PX] = thumbnail
        _mark(sheet, str(person.number), left, top)
        if timed:
            below = top + THUMBNAIL_PX + 17
            _write(sheet, f"from {_clock(person.first_seen_s)}", left, below)
            _write(sheet, f"{person.seconds:.1f} s in {_counted(len(person.shots), 'shot')}", left, below + 18)
    return sheet


def _views(target: Path, census: PictureCensus | VideoCensus) -> list[tuple[FrameView, Person]]:
    if isinstance(census, PictureCensus):
        return [(PictureView(census.picture.bgr()), person) for person in census.people]
    return [
        (DecodedView(frame, census.media.video), person)
        for person in census.people
        for _, frame in read_decoded(target, census.media, census.index, person.best_frame, 1)
    ]


def _thumbnail(view: FrameView, person: Person) -> Picture:
    left, top, right, bottom = (side * view.size[1] for side in person.best_box)
    scale = THUMBNAIL_PX / max(1.0, _AROUND * max(right - left, bottom - top))
    middle = (THUMBNAIL_PX - 1) / 2
    matrix = np.array(
        [[scale, 0, middle - scale * (left + right) / 2], [0, scale, middle - scale * (top + bottom) / 2]], np.float32
    )
    return view.patch(matrix, THUMBNAIL_PX)


def _mark(sheet: Picture, text: str, left: int, top: int) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 0.9, 1)
    cv2.rectangle(sheet, (left, top), (left + width + 16, top + height + 16), _MARK, cv2.FILLED)
    place = (left + 8, top + height + 8)
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_DUPLEX, 0.9, (255, 255, 255), 1, cv2.LINE_AA)


def _write(sheet: Picture, text: str, left: int, baseline: int) -> None:
    cv2.putText(sheet, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.48, _INK, 1, cv2.LINE_AA)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
