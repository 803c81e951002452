"""Locations of inputs and outputs: paths and addresses of stores, told apart and made absolute.

A plain path is taken literally, whatever characters it holds (`-vf`, quotes, newlines, a colon); only
`scheme://` makes a URI. `file://` URIs are paths. A path that is not UTF-8 travels as such a URI (`file:///a%FF.mp4`),
because requests, records and answers are JSON, which holds text only.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes, urlsplit

from pydantic import PlainSerializer, PlainValidator

from faceflow.errors import JobError

_URI = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")


def is_uri(location: str) -> bool:
    """Whether `location` is `scheme://...` and not a path."""
    return bool(_URI.match(location))


def in_store(location: str) -> bool:
    """Whether `location` is the address of an object in a store (`s3://bucket/key`) and not a file on this machine."""
    return is_uri(location) and not location.lower().startswith("file:")


def absolute(location: str) -> str:
    """`location` as another process understands it: the absolute path, or the address as it is."""
    return location if in_store(location) else portable(local_path(location))


def carried(location: str) -> str:
    """`location` as text that any JSON can hold: as it is, or absolute, as a `file://` URI, where it is not UTF-8.

    Raises:
        JobError: `job.location_unsupported` where no file and no object can have such a name.
    """
    return location if is_text(location) else absolute(location)


def is_text(text: str) -> bool:
    """Whether `text` can be written as UTF-8, as JSON and databases keep it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def portable(path: Path) -> str:
    """An absolute path as text that any JSON can hold: as it is, or as a `file://` URI where it is not UTF-8."""
    text = str(path)
    return text if is_text(text) else path.as_uri()


def name_of(location: str) -> str:
    """The last part of a path or of the address of an object, such as `clip.mp4`."""
    return PurePosixPath(location).name if in_store(location) else local_path(location).name


def local_path(location: str) -> Path:
    """The absolute path that `location` names; symbolic links are kept as they are.

    Raises:
        JobError: `job.location_unsupported` for a URI that is not a local file, and for a name that no file can have;
            `job.folder_gone` for a relative path in a folder that was removed.
    """
    if not _URI.match(location):
        return _from_here(_path(location))
    parts = urlsplit(location)
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return _from_here(_path(os.fsdecode(unquote_to_bytes(parts.path))))
    raise JobError(
        "job.location_unsupported",
        f"{location!r} is in a store that this installation cannot open ({parts.scheme}).",
        "Use a path on this machine, or copy the file here first.",
        scheme=parts.scheme,
    )


def _path(text: str) -> Path:
    try:
        possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a character, which JSON can name and no disk
        possible = False
    if not possible:
        raise JobError("job.location_unsupported", f"No file can have the name {text!r}.", "Correct the path.")
    return Path(text)


def _from_here(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise JobError(
            "job.folder_gone",
            f"The current folder no longer exists, so {str(path)!r} is not a valid path.",
            "Change to an existing folder, or use absolute paths.",
        ) from error


def _as_path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str):
        return local_path(value)
    raise ValueError("the location of a file must be a path")


LocalFile = Annotated[Path, PlainValidator(_as_path), PlainSerializer(portable, when_used="json")]
"""The absolute path of a file of the user's, whose name may be no UTF-8, as a field of a model that is kept as JSON."""
