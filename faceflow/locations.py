"""Locations of inputs and outputs: paths and addresses of stores, told apart and made absolute.

A plain path is taken literally, whatever characters it holds (`-vf`, quotes, newlines, a colon); only
`scheme://` makes a URI. `file://` URIs are paths.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from faceflow.errors import JobError

_URI = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")


def in_store(location: str) -> bool:
    """Whether `location` is the address of an object in a store (`s3://bucket/key`) and not a file on this machine."""
    return bool(_URI.match(location)) and not location.lower().startswith("file:")


def absolute(location: str) -> str:
    """`location` as another process understands it: the absolute path, or the address as it is."""
    return location if in_store(location) else str(local_path(location))


def name_of(location: str) -> str:
    """The last part of a path or of the address of an object, such as `clip.mp4`."""
    return PurePosixPath(location).name if in_store(location) else local_path(location).name


def local_path(location: str) -> Path:
    """The absolute path that `location` names; symbolic links are kept as they are.

    Raises:
        JobError: `job.location_unsupported` for a URI that is not a local file.
    """
    if not _URI.match(location):
        return Path(location).absolute()
    parts = urlsplit(location)
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path)).absolute()
    raise JobError(
        "job.location_unsupported",
        f"{location!r} lies in a store that this installation cannot open ({parts.scheme}).",
        "Give a path on this machine, or copy the file here first.",
        scheme=parts.scheme,
    )
