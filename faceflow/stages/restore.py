"""Restore: improves the swapped crops of one segment, without looking at a frame."""

from __future__ import annotations

from pathlib import Path

from faceflow.job import SwapJob
from faceflow.progress import Progress
from faceflow.settings import Settings
from faceflow.stages.artifacts import make_faces_file
from faceflow.stages.model import FacesArtifact
from faceflow.vision.faces_file import FaceFrame, FacesReader, FacesWriter, trimmed
from faceflow.vision.registry import make_restorer


def run_restore(
    job: SwapJob, faces: FacesArtifact, settings: Settings, directory: Path, progress: Progress
) -> FacesArtifact:
    """Reads a faces file and writes the restored one; passes it on as it is when there is nothing to restore.

    Args:
        job: which restorer, and how much of it.
        faces: what swap made.
        settings: not needed by the restorers of this machine so far.
        directory: where `restore-<number>.faces` is written.
        progress: advanced by the segment's frames.

    Raises:
        JobError: `job.engine_unknown`.
        FaultError: the faces file is missing or damaged.
        ResourceError: `fault.disk_full`.
    """
    del settings
    restorer = make_restorer(job.swap.restorer)
    segment = faces.segment
    if restorer.name == "none" or job.swap.restore_blend == 0 or faces.faces == 0:
        progress.advance(segment.frames)
        return faces
    path = directory / f"restore-{segment.number:05d}.faces"
    done = segment.first
    with FacesReader(faces.file.path) as reader:
        description = {**reader.description, "restorer": restorer.name, "restorer_version": restorer.version}
        with FacesWriter(path, description) as writer:
            for number, found in reader.by_frame():
                for face in found:
                    restored = restorer.restore([face.crop], job.swap.restore_blend)
                    # Nobody looks at the surroundings any more.
                    writer.write(trimmed(FaceFrame(face.frame, face.person, face.matrix, restored[0])))
                progress.advance(number + 1 - done)
                done = number + 1
    progress.advance(segment.first + segment.frames - done)
    return FacesArtifact(segment=segment, file=make_faces_file(path, writer.checksum), faces=writer.faces)
