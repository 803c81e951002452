"""What a user should know of a picture before it is swapped: what of its file the result will not have, and why."""

from __future__ import annotations

from pathlib import Path

from faceflow.job import SwapJob
from faceflow.locations import name_of
from faceflow.media.picture import PICTURE_ENDINGS, PictureFile
from faceflow.media.picture_exif import has_place
from faceflow.media.picture_extras import picture_extras
from faceflow.media.picture_open import open_picture
from faceflow.settings import SwapSettings
from faceflow.stages.place import place_note

_PNG_ONLY = {
    b"gAMA": "gamma",
    b"cHRM": "primaries",
    b"cICP": "colour numbers",
    b"mDCV": "mastering display",
    b"cLLI": "light levels",
}


def picture_notes(picture: PictureFile, job: SwapJob, settings: SwapSettings) -> tuple[str, ...]:
    """Notes on a picture target.

    Args:
        picture: the target, decoded.
        job: the ending of its output chooses the format.
        settings: limits of reading, and whether the place is carried.

    Raises:
        PictureError: the file cannot be read any more.
    """
    data, header = open_picture(picture.path, settings.limits)
    kind = PICTURE_ENDINGS.get(Path(name_of(job.output)).suffix.lower())
    lost = list(picture_extras(data, picture.kind, picture.exif and header.exif, picture.extras))
    if header.exif is not None and picture.exif is None:
        lost.append("EXIF that cannot be read")
    if kind != "png" and picture.icc is None:
        lost += [words for name, words in _PNG_ONLY.items() if name in dict(picture.carried)]
    notes = [f"left out of the picture file: {', '.join(lost)}"] if lost else []
    if picture.bit_depth == 16 and kind != "png":
        notes.append(
            f"its samples of more than 8 bits were rounded to 8, the most that {str(kind).upper()} supports here"
        )
    without_place = place_note(job, settings.trust)
    if without_place is not None and has_place(picture.exif):
        notes.append(without_place)
    return tuple(notes)
