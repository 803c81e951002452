"""Restore: improves the swapped crops of one segment, without looking at a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from faceflow.job import SwapJob
from faceflow.progress import Progress
from faceflow.settings import SwapSettings
from faceflow.stages.artifacts import make_faces_file
from faceflow.stages.results import FacesArtifact
from faceflow.vision.faces_file import FaceFrame, FacesReader, FacesWriter, trimmed
from faceflow.vision.registry import make_restorer
from faceflow.vision.shapes import PlacedCrop, PlacedRestorer, Restorer


def run_restore(
    job: SwapJob, faces: FacesArtifact, settings: SwapSettings, directory: Path, progress: Progress
) -> FacesArtifact:
    """Reads a faces file and writes the restored one; passes it on as it is when there is nothing to restore.

    Args:
        job: which restorer, and how much of it.
        faces: what swap made.
        settings: how networks are run.
        directory: where `restore-<number>.faces` is written.
        progress: advanced by the segment's frames.

    Raises:
        JobError: `job.engine_unknown`.
        ModelError, ModelFileError, EngineError: a network may not be used, is not there, or does not run as asked.
        FaultError: the faces file is missing or damaged.
        ResourceError: `fault.disk_full`.
    """
    restorer = make_restorer(job.swap.restorer, settings, job.swap)
    segment = faces.segment
    if restorer.name == "none" or job.swap.restore_blend == 0 or faces.faces == 0:
        progress.advance(segment.frames)
        return faces
    path = directory / f"restore-{segment.number:05d}.faces"
    done = segment.first
    with FacesReader(faces.file.path) as reader:
        description = {**reader.description, "restorer": restorer.name, "restorer_version": restorer.version}
        with FacesWriter(path, description) as writer:
            for faces_together in _batched(reader, settings.engine.faces_at_once):
                for face in _restored(restorer, faces_together, job.swap.restore_blend):
                    # Nobody looks at the surroundings any more.
                    writer.write(trimmed(face))
                number = faces_together[-1].frame
                progress.advance(max(0, number - done))
                done = max(done, number)
    progress.advance(segment.first + segment.frames - done)
    return FacesArtifact(segment=segment, file=make_faces_file(path, writer.checksum), faces=writer.faces)


def _batched(faces: Iterable[FaceFrame], batch: int) -> Iterator[list[FaceFrame]]:
    waiting: list[FaceFrame] = []
    for face in faces:
        waiting.append(face)
        if len(waiting) == batch:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _restored(restorer: Restorer | PlacedRestorer, faces: Sequence[FaceFrame], blend: float) -> Iterator[FaceFrame]:
    if not isinstance(restorer, PlacedRestorer):
        for face, crop in zip(faces, restorer.restore([face.crop for face in faces], blend), strict=True):
            yield replace(face, crop=crop)
        return
    placed = [PlacedCrop(face.crop, face.matrix, face.points) for face in faces]
    for face, made in zip(faces, restorer.restore_placed(placed, blend), strict=True):
        yield FaceFrame(face.frame, face.person, made.matrix, made.crop, made.points)
