"""Files of arrays that one stage leaves for another (npz): the frame index, the tracks, the references.

They lie in scratch, where a lost machine or a full disk may cut them. A stage looks at their checksum before it builds
on them, but much later they are read. NumPy's own reader takes a file at its word: it makes an array of whatever size a
header states, and what it raises has no common class. So each array is taken here as bytes, whose number the archive
states, and compared with what its header says and with the form that the reader of the file expects.

    arrays = read_arrays(path, {"pts": ("i", (None,)), "box": ("f", (None, 4))})
"""

from __future__ import annotations

import errno
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import FaultError

Form = Mapping[str, tuple[str, tuple[int | None, ...]]]
"""Names of arrays, each with the kind of its numbers as NumPy's letter (i, u, f, b, U) and its sides, None for any."""

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_MOST_BYTES, _MOST_RATIO = 64 << 20, 100
"""An archive unpacks to no more than this, or to so many times its own size where that is more."""
_DAMAGE = (
    ValueError, TypeError, LookupError, RuntimeError, EOFError, SyntaxError, tokenize.TokenError, struct.error,
    zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def read_arrays(path: Path, form: Form) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `numpy.savez` wrote, each as `form` says; others in it are left alone.

    Raises:
        FaultError: `fault.artifact_missing` where the file cannot be read, `fault.artifact_damaged` where it is not
            what was written.
    """
    try:
        with path.open("rb") as file:
            most = max(_MOST_BYTES, _MOST_RATIO * path.stat().st_size)
            try:
                return _read(file, form, most)
            except _DAMAGE as error:
                raise damaged(path, str(error) or type(error).__name__) from error
            except OSError as error:
                if error.errno != errno.EINVAL:  # which a place before the file's beginning is
                    raise
                raise damaged(path, "its table of contents points outside the file") from error
    except OSError as error:
        raise FaultError(
            "fault.artifact_missing",
            f"The file {str(path)!r}, which an earlier step made, cannot be read: {error.strerror or error}.",
            "Run the same command again; missing files are created again.",
        ) from error


def damaged(path: Path, why: str) -> FaultError:
    """`fault.artifact_damaged`: what a stage left is not whole any more; `why` completes the sentence."""
    return FaultError(
        "fault.artifact_damaged",
        f"The file {str(path)!r}, which an earlier step made, is damaged: {why}.",
        "Run the same command again; damaged files are replaced.",
    )


def _read(file: Any, form: Form, most: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(file) as archive:
        for name, (kind, sides) in form.items():
            info = archive.getinfo(f"{name}.npy")
            most -= info.file_size
            if most < 0 or info.compress_type not in _METHODS:
                raise ValueError(f"{name} is larger than it can be, or packed in another way")
            found = _array(archive.read(info))
            fits = len(found.shape) == len(sides) and all(
                side in (None, own) for side, own in zip(sides, found.shape, strict=True)
            )
            if found.dtype.kind != kind or not fits:
                raise ValueError(f"{name} has a different shape or type than when it was written")
            arrays[name] = found
    return arrays


def _array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError("it has a different version")
    sides, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    numbers = content[stream.tell() :]
    if dtype.hasobject or min(sides, default=0) < 0 or len(numbers) != math.prod(sides) * dtype.itemsize:
        raise ValueError("an array is not as long as its header says")
    return np.frombuffer(numbers, dtype).reshape(sides, order="F" if by_columns else "C").copy()
