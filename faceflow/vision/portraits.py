"""From portraits to an identity: which face of each picture is the source's."""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.errors import FaceError
from faceflow.settings import LimitSettings
from faceflow.vision.shapes import Face, Identity, Picture, PictureAnalyser, Swapper

_EQUALLY_LARGE = 0.5
"""A second face with more than this share of the largest one's area makes the portrait ambiguous."""


def portrait_face(analyser: PictureAnalyser, picture: Picture, shown: str, limits: LimitSettings) -> Face:
    """The face of a portrait: the largest, if it is clearly the largest and large enough.

    Args:
        analyser: finds the faces.
        picture: uint8 (H, W, 3), BGR.
        shown: how messages call the picture, such as its path.
        limits: the smallest face that counts.

    Raises:
        FaceError: `face.none_in_source`, `face.several_in_source` or `face.too_small_in_source`.
    """
    faces = sorted(analyser.analyse(picture), key=_area, reverse=True)
    if not faces:
        raise FaceError(
            "face.none_in_source",
            f"No face was found in the portrait {shown!r}.",
            "Choose a sharp, well-lit picture that shows the face from the front.",
            picture=shown,
        )
    if len(faces) > 1 and _area(faces[1]) > _EQUALLY_LARGE * _area(faces[0]):
        raise FaceError(
            "face.several_in_source",
            f"The portrait {shown!r} shows {len(faces)} faces, so it is ambiguous.",
            "Crop the picture so that it only shows the person to put into the video.",
            picture=shown,
            faces=len(faces),
        )
    if faces[0].height_px < limits.min_face_px:
        raise FaceError(
            "face.too_small_in_source",
            f"The face in the portrait {shown!r} is only {faces[0].height_px:.0f} pixels high.",
            f"Choose a picture in which the face is at least {limits.min_face_px} pixels high; 200 or more looks best.",
            picture=shown,
            height_px=round(faces[0].height_px, 1),
        )
    return faces[0]


def load_identity(
    swapper: Swapper,
    analyser: PictureAnalyser,
    name: str,
    pictures: Sequence[Picture],
    limits: LimitSettings | None = None,
    shown: Sequence[str] | None = None,
) -> Identity:
    """Prepares a source from all its portraits.

    Args:
        swapper: whose identity it will be.
        analyser: finds the faces; one with dense landmarks where the swapper wants them.
        name: the source's name.
        pictures: uint8 (H, W, 3), BGR, one or more of the same person.
        limits: the smallest face that counts; the defaults when left out.
        shown: how messages call each picture; `name` and a number when left out.

    Raises:
        FaceError: see `portrait_face`.
    """
    names = shown or [f"{name} ({number})" for number in range(1, len(pictures) + 1)]
    bounds = limits or LimitSettings()
    chosen = [
        (picture, portrait_face(analyser, picture, words, bounds))
        for picture, words in zip(pictures, names, strict=True)
    ]
    return swapper.prepare(name, chosen)


def _area(face: Face) -> float:
    left, top, right, bottom = (float(value) for value in face.box)
    return (right - left) * (bottom - top)
