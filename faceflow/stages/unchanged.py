"""Whose fault it is when a stage cannot go on with a file: somebody changed the file, or we cannot read what is there.

A job reads its target several times, and hours may lie between. Where it was replaced, cut or moved meanwhile, all
kinds of errors follow, and none says so: frames that are not shown again, damaged packets, sound that ends early. So a
stage that fails compares the file with what was validated, by content, and tells a change as what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceflow.errors import CancelledError, ResourceError
from faceflow.media.opening import unreadable
from faceflow.media.refusals import changed
from faceflow.publish import sha256_of


@contextmanager
def unchanged(path: Path, sha256: str) -> Iterator[None]:
    """A failure of the block is told as the file's where its content is not `sha256` any more; else it stays as it is.

    Raises:
        MediaError: `media.changed`; `media.missing` and `media.unreadable`, where it cannot be read any more.
    """
    try:
        yield
    except (CancelledError, ResourceError):
        raise
    except Exception as error:
        try:
            content = sha256_of(path)
        except OSError as reason:
            raise unreadable(path, reason) from error
        if content != sha256:
            raise changed(path) from error
        raise
