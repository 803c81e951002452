"""Finished files and how to see that they are still whole.

A stage publishes a file by writing it under a temporary name and renaming it; then it makes an `Artifact` of
it: path, size and SHA-256. A later run that finds the record checks the file against it before it builds on it,
because a result may outlive its file (scratch was emptied) or the file may be cut (the disk was full, the
machine was lost).
"""

from __future__ import annotations

from pathlib import Path

from faceflow.publish import sha256_of
from faceflow.stages.model import Artifact


def make_artifact(path: Path) -> Artifact:
    """Describes a finished file so that its loss or damage can be seen later. Raises OSError."""
    return Artifact(path=path, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def artifact_is_whole(artifact: Artifact) -> bool:
    """Whether the file is there with the size and SHA-256 that were recorded; False if it cannot be read."""
    try:
        return (
            artifact.path.is_file()
            and artifact.path.stat().st_size == artifact.size_bytes
            and sha256_of(artifact.path) == artifact.sha256
        )
    except OSError:
        return False
