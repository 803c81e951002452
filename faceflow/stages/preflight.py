"""Preflight: what can be told in a second, before a server is started or a frame is decoded.

The command line calls it first, so that a mistyped path does not wait for Prefect; validate calls it again, because
between the two the job may have travelled to another machine.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from faceflow.errors import JobError, OutputError
from faceflow.job import SwapJob
from faceflow.locations import in_store, local_path, name_of
from faceflow.media.containers import BY_ENDING
from faceflow.media.facts import MediaInfo
from faceflow.media.picture import PICTURE_ENDINGS, PictureFile, check_destination, is_picture, read_picture
from faceflow.media.probe import probe
from faceflow.publish import output_error, require_writable
from faceflow.settings import SwapSettings
from faceflow.stages.cast import check_mapping, reference_face
from faceflow.trust.consent import require_consent
from faceflow.vision.portraits import portrait_face
from faceflow.vision.registry import make_analyser, require_engines
from faceflow.vision.shapes import Face
from faceflow.zones import require_pool_zone

Portraits = dict[str, list[tuple[PictureFile, Face]]]


def preflight(job: SwapJob, settings: SwapSettings) -> tuple[MediaInfo | PictureFile, Portraits]:
    """Checks the request, the output's place, the portraits, the reference pictures and the target's headers.

    Returns:
        What the target is, and each source's portraits with the face that is used.

    Raises:
        InputError: the first thing that is not right, with its own code.
    """
    require_pool_zone(job.sensitivity, settings.pool.zone, settings.pool.name)
    require_consent(job, settings.trust)
    _check_request(job, settings)
    output = Path(name_of(job.output)) if in_store(job.output) else local_path(job.output)
    if not in_store(job.output):  # whether a store takes it is asked where stores are known
        _check_output(output, [local_path(location) for location in inputs_of(job)])
    target = local_path(job.target)
    # A file that is neither is told apart by probe, which has the better words for it.
    described: MediaInfo | PictureFile
    if is_picture(target):
        described = read_picture(target, settings.limits)
        _require_ending(output, PICTURE_ENDINGS, "picture")
        check_destination(described, output)
    else:
        described = probe(target, settings.limits)
        _require_ending(output, BY_ENDING, "video")
    _check_references(job, settings)
    return described, _portraits(job, settings)


def inputs_of(job: SwapJob) -> list[str]:
    """Locations of everything that the job reads: the target first, then portraits and reference pictures."""
    portraits = [portrait for source in job.sources for portrait in source.portraits]
    return [job.target, *portraits, *(mapping.reference for mapping in job.face_map if mapping.reference)]


def _check_request(job: SwapJob, settings: SwapSettings) -> None:
    require_engines(job.swap, settings, identifies=job.maps_people)
    check_mapping(job, settings)
    if job.callback is not None:
        raise JobError(
            "job.callback_unsupported",
            "This installation does not support callbacks.",
            "Leave `callback` empty and follow the run in the Prefect UI, or with `faceflow swap --remote`.",
        )


def _check_output(output: Path, inputs: list[Path]) -> None:
    try:
        has_folder = output.parent.is_dir()
    except OSError as error:
        raise output_error(error, output) from error
    if not has_folder:
        raise OutputError(
            "output.folder_missing",
            f"The folder {str(output.parent)!r} of the output does not exist.",
            "Create the folder, or choose another one with -o.",
        )
    for path in inputs:
        if path == output or _is_same_file(output, path):
            raise OutputError(
                "output.is_input",
                f"The output {str(output)!r} is one of the inputs and would overwrite it.",
                "Choose another name for the output.",
            )
    require_writable(output)


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether both are there and are one file, by whatever links and mounts; what cannot be read is told later."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _require_ending(output: Path, endings: Collection[str], kind: str) -> None:
    if output.suffix.lower() not in endings:
        raise OutputError(
            "output.ending_unknown",
            f"The output {output.name!r} does not end like a {kind}, but the target is one.",
            f"Use a name that ends in {', '.join(sorted(endings))}.",
        )


def _check_references(job: SwapJob, settings: SwapSettings) -> None:
    for location in (mapping.reference for mapping in job.face_map if mapping.reference is not None):
        picture = read_picture(local_path(location), settings.limits)
        reference_face(make_analyser(job.swap.analyser, settings), picture.bgr(), str(local_path(location)))


def _portraits(job: SwapJob, settings: SwapSettings) -> Portraits:
    analyser = make_analyser(job.swap.analyser, settings)
    found: Portraits = {}
    for source in job.sources:
        found[source.name] = []
        for location in source.portraits:
            picture = read_picture(local_path(location), settings.limits)
            face = portrait_face(analyser, picture.bgr(), str(local_path(location)), settings.limits)
            found[source.name].append((picture, face))
    return found
