"""Which networks an analyser is made of: from what a job names to the catalogue's models, no more than the job needs.

    analyser     finds faces                       landmarker `auto`   tells people apart
    embedded     BlazeFace and the face mesh       none                dlib, where it is installed
    insightface  det_10g                           2d106det            w600k_r50
    a detector   that one                          none                dlib, where it is installed

A landmarker that is named refines every face that is swapped, and those of portraits; `auto` refines moving pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.errors import JobError
from faceflow.vision.model_catalogue import Catalogue, Contract, ModelKind
from faceflow.vision.neural.genderage import GENDERAGE_MODEL
from faceflow.vision.neural.recogniser import ARCFACE_MODEL

EMBEDDED_ANALYSER = "embedded"
"""The analyser that is always there; the only one whose faces the embedded swapper takes."""
INSIGHTFACE = "insightface"
"""The analyser of InsightFace's buffalo_l."""
AUTO_LANDMARKER, NO_LANDMARKER = "auto", "none"
_INSIGHTFACE_DETECTOR, _INSIGHTFACE_LANDMARKER = "det_10g", "2d106det"
_READ_BY_INSIGHTFACE = {Contract.SCRFD, Contract.LANDMARK106, Contract.LANDMARK68_3D, Contract.GENDERAGE}


def detector_model(analyser: str, known: Catalogue) -> str | None:
    """The detector of an analyser, None for the embedded one. Raises `JobError` `job.engine_unknown`."""
    if analyser == EMBEDDED_ANALYSER:
        return None
    if analyser == INSIGHTFACE:
        return _INSIGHTFACE_DETECTOR
    return _named("analyser", analyser, ModelKind.DETECTOR, (EMBEDDED_ANALYSER, INSIGHTFACE), known)


def landmarker_model(analyser: str, landmarker: str, known: Catalogue) -> str | None:
    """The landmarker that refines what an analyser finds, None where its own points are kept.

    Raises:
        JobError: `job.engine_unknown`; `job.landmarker_unfit` where the analyser has landmarks of its own.
    """
    if landmarker == NO_LANDMARKER:
        return None
    if landmarker == AUTO_LANDMARKER:
        return _INSIGHTFACE_LANDMARKER if analyser == INSIGHTFACE else None
    named = _named("landmarker", landmarker, ModelKind.LANDMARKER, (AUTO_LANDMARKER, NO_LANDMARKER), known)
    if analyser == EMBEDDED_ANALYSER:
        raise JobError(
            "job.landmarker_unfit",
            f"The analyser {EMBEDDED_ANALYSER!r} has its own landmarks, which {landmarker!r} cannot replace.",
            f"Leave the landmarker at {AUTO_LANDMARKER!r}, or choose another analyser.",
        )
    return named


def analyser_models(
    analyser: str, landmarker: str, known: Catalogue, *, identifies: bool, traits: bool
) -> tuple[str, ...]:
    """The networks that are run to find and judge faces.

    Args:
        analyser, landmarker: what the job names.
        known: the networks that there are.
        identifies: whether people must be told apart.
        traits: whether gender and age are asked for.

    Raises:
        As `detector_model` and `landmarker_model`.
    """
    found = [detector_model(analyser, known), landmarker_model(analyser, landmarker, known)]
    found.append(ARCFACE_MODEL if identifies and analyser == INSIGHTFACE else None)
    found.append(GENDERAGE_MODEL if traits else None)
    return tuple(name for name in found if name is not None)


def need_insightface(models: tuple[str, ...], known: Catalogue) -> bool:
    """Whether the package insightface reads the numbers of one of these networks."""
    return any(known.find(name).contract in _READ_BY_INSIGHTFACE for name in models)


def _named(family: str, name: str, kind: ModelKind, more: tuple[str, ...], known: Catalogue) -> str:
    entry = known.models.get(name)
    if entry is not None and entry.kind is kind:
        return name
    raise unknown_engine(family, name, [*more, *(one.name for one in known.entries(kind))])


def unknown_engine(family: str, name: str, known: Sequence[str]) -> JobError:
    """The error for a name that nothing of the family bears; `known` are those that are borne."""
    return JobError(
        "job.engine_unknown",
        f"There is no {family} {name!r}.",
        f"Choose one of: {', '.join(known)}.",
        family=family,
        name=name,
        known=list(known),
    )
