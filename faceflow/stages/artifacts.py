"""Finished files and how to see that they are still whole.

A stage publishes a file by writing it under a temporary name and renaming it; then it makes an `Artifact` of
it: path, size and SHA-256. A later run that finds the record checks the file against it before it builds on it,
because a result may outlive its file (scratch was emptied) or the file may be cut (the disk was full, the
machine was lost). Faces files, by far the largest, are not hashed again: they were summed up while they were written.
"""

from __future__ import annotations

from pathlib import Path

from faceflow.errors import FaultError
from faceflow.publish import sha256_of
from faceflow.stages.results import Artifact, FacesFile
from faceflow.vision.faces_file import FacesReader


def make_artifact(path: Path) -> Artifact:
    """Describes a finished file so that its loss or damage can be seen later. Raises OSError."""
    return Artifact(path=path, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def make_faces_file(path: Path, checksum: str) -> FacesFile:
    """Describes a faces file that a `FacesWriter` finished with this checksum. Raises OSError."""
    return FacesFile(path=path, size_bytes=path.stat().st_size, checksum=checksum)


def artifact_is_whole(artifact: Artifact | FacesFile) -> bool:
    """Whether the file is there with the size and content that were recorded; False if it cannot be read."""
    try:
        if not artifact.path.is_file() or artifact.path.stat().st_size != artifact.size_bytes:
            return False
        if isinstance(artifact, FacesFile):
            return _checksum_of(artifact.path) == artifact.checksum
        return sha256_of(artifact.path) == artifact.sha256
    except (OSError, FaultError):
        return False


def _checksum_of(path: Path) -> str:
    """Reads a whole faces file. Raises FaultError where it is damaged."""
    with FacesReader(path) as reader:
        for _ in reader:
            pass
        return reader.checksum
