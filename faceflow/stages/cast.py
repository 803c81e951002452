"""From the face map to numbers: which person of the target gets which source.

A mapping names a person by their number in the list that `faceflow faces` prints, or by a picture of them. Pictures
are compared with the people found, once, here; the later stages know numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceflow.errors import FaceError, JobError
from faceflow.installation import installation
from faceflow.job import FaceMapping, Selection, SwapJob
from faceflow.locations import local_path
from faceflow.media.picture import read_picture
from faceflow.settings import SwapSettings
from faceflow.stages.census import Census
from faceflow.vision.choosing import fitting_tracks
from faceflow.vision.people import matches
from faceflow.vision.person import Person
from faceflow.vision.registry import make_analyser, make_recogniser
from faceflow.vision.shapes import Face, Picture, PictureAnalyser
from faceflow.vision.view import PictureView

_CLEARLY_NEARER = 0.06
"""Distance by which the nearest person must be nearer to a reference than the second nearest."""
_LENIENT = 1.05
"""A reference was taken in another light and at another time than the clip: it may be this much farther away."""
_EQUALLY_LARGE = 0.5


def check_mapping(job: SwapJob, settings: SwapSettings) -> None:
    """What can be told about the face map before the target is looked at.

    Raises:
        JobError: `job.face_map_missing`, `job.selection_conflict`, `job.mapping_needs_recogniser` for a reference
            picture where people cannot be told apart.
    """
    if job.maps_people and job.swap.asks_traits:
        raise JobError(
            "job.selection_conflict",
            "--map cannot be combined with --gender or --age.",
            "Leave out one of the two.",
        )
    mapped = job.swap.selection is Selection.MAPPED
    if not job.face_map and (mapped or len(job.sources) > 1):
        said = "The selection is `mapped`" if mapped else f"The job has {len(job.sources)} sources"
        raise JobError(
            "job.face_map_missing",
            f"{said}, but the job does not say which person gets which source.",
            "Add a face map, such as --map 0=NAME; `faceflow faces TARGET` lists the people with their numbers.",
        )
    by_picture = any(mapping.reference is not None for mapping in job.face_map)
    if by_picture and make_recogniser(job.swap.analyser, settings) is None:
        raise _needs_recogniser("A person is named by a reference picture")


def resolve_cast(job: SwapJob, census: Census, settings: SwapSettings) -> tuple[tuple[int, str], ...]:
    """Person and source of every mapping, in the order of the people; nothing where the job maps nobody.

    Raises:
        JobError: `job.person_unknown`, `job.reference_unmatched`, `job.reference_ambiguous`, `job.face_map_conflict`,
            `job.mapping_needs_recogniser`, and as `check_mapping`.
        FaceError: `face.none_in_reference`, `face.several_in_reference`; `face.none_selected` where nobody looks as
            gender and age ask.
    """
    check_mapping(job, settings)
    if job.swap.asks_traits and not fitting_tracks(census.table, job.swap):
        raise _nobody_fits(census)
    if job.face_map and not census.told_apart and len(census.table.shots) > 1:
        raise _needs_recogniser(f"The target has {len(census.table.shots)} shots")
    cast: dict[int, str] = {}
    for mapping in job.face_map:
        person = _person_of(mapping, census.people, job.swap.analyser, settings)
        if cast.setdefault(person, mapping.source) != mapping.source:
            raise JobError(
                "job.face_map_conflict",
                f"Person {person} is mapped to both {cast[person]!r} and {mapping.source!r}.",
                "Map each person to one source. Two of the reference pictures may show the same person.",
                person=person,
            )
    return tuple(sorted(cast.items()))


def reference_face(analyser: PictureAnalyser, picture: Picture, shown: str) -> Face:
    """The one face of a reference picture: the largest, if it is clearly the largest.

    Raises:
        FaceError: `face.none_in_reference` or `face.several_in_reference`.
    """
    faces = sorted(analyser.analyse(picture), key=lambda face: face.height_px, reverse=True)
    if not faces:
        raise FaceError(
            "face.none_in_reference",
            f"No face was found in the reference picture {shown!r}.",
            "Choose a picture that shows the face of the person to replace from the front.",
            picture=shown,
        )
    if len(faces) > 1 and faces[1].height_px ** 2 > _EQUALLY_LARGE * faces[0].height_px ** 2:
        raise FaceError(
            "face.several_in_reference",
            f"The reference picture {shown!r} shows {len(faces)} faces, so it is ambiguous.",
            "Crop the picture so that it only shows the person to replace, or use the person's number.",
            picture=shown,
            faces=len(faces),
        )
    return faces[0]


def _person_of(mapping: FaceMapping, people: Sequence[Person], analyser: str, settings: SwapSettings) -> int:
    if mapping.reference is not None:
        return _shown_in(mapping.reference, people, analyser, settings)
    person = -1 if mapping.person is None else mapping.person
    if not 0 <= person < len(people):
        raise JobError(
            "job.person_unknown",
            f"There is no person {person} in the target. {_listed(people)}",
            "Use one of these numbers; `faceflow faces TARGET` shows their faces.",
            person=person,
            people=len(people),
        )
    return person


def _shown_in(reference: str, people: Sequence[Person], analyser: str, settings: SwapSettings) -> int:
    recogniser = make_recogniser(analyser, settings)
    if recogniser is None:
        raise _needs_recogniser("A person is named by a reference picture")
    shown = str(local_path(reference))
    picture = read_picture(local_path(reference), settings.limits).bgr()
    face = reference_face(make_analyser(analyser, settings), picture, shown)
    near = matches(recogniser.embed(PictureView(picture), face), [person.embedding for person in people])
    if not near or near[0][0] > recogniser.same_person * _LENIENT:
        raise JobError(
            "job.reference_unmatched",
            f"Nobody in the target looks like the person in {shown!r}. {_listed(people)}",
            "Choose a sharper picture of that person, or use the person's number from `faceflow faces TARGET`.",
            distances={str(number): round(away, 3) for away, number in near[:5]},
        )
    if len(near) > 1 and near[1][0] - near[0][0] < _CLEARLY_NEARER:
        raise JobError(
            "job.reference_ambiguous",
            f"{shown!r} looks equally like person {near[0][1]} and person {near[1][1]}. {_listed(people)}",
            "Choose another picture, or use the person's number from `faceflow faces TARGET`.",
            distances={str(number): round(away, 3) for away, number in near[:5]},
        )
    return near[0][1]


def _nobody_fits(census: Census) -> FaceError:
    seen = [
        f"{'a man' if male >= 0.5 else 'a woman'} of about {age:.0f}"
        for male, age in list(zip(census.table.male.tolist(), census.table.age_years.tolist(), strict=True))[:8]
        if np.isfinite(age)
    ]
    return FaceError(
        "face.none_selected",
        f"Nobody in the target matches the selection. The faces were judged to be: {', '.join(seen) or 'nothing'}.",
        "Widen --age, or leave out --gender or --age. Both are estimates.",
    )


def _listed(people: Sequence[Person]) -> str:
    shown = [f"{person.number} (first seen at {person.first_seen_s:.1f} s)" for person in people[:8]]
    more = f" and {len(people) - 8} more" if len(people) > 8 else ""
    return f"People found: {', '.join(shown)}{more}."


def _needs_recogniser(why: str) -> JobError:
    return JobError(
        "job.mapping_needs_recogniser",
        f"{why}, so faceflow has to tell people apart; the package for that is not installed.",
        f"{installation().with_extra('people')}, or swap `all` faces or the `largest` one.",
    )
