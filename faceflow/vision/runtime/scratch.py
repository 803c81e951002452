"""Large arrays that are used again instead of being made anew.

A tensor of 512 x 512 pixels has 3 MB. Memory of that size comes from the system page by page whenever it is asked for,
and goes back when it is let go; that takes longer than filling it. So each thread keeps what it works with.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

_kept = threading.local()


def scratch_array(name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """An array with whatever stands in it, which the next call with this name in this thread gives again.

    Args:
        name: for what; two arrays that are needed at once have two names.
        shape, dtype: as NumPy has them.
    """
    count, kind = math.prod(shape), np.dtype(dtype)
    arrays: dict[tuple[str, str], NDArray[Any]] = _kept.__dict__.setdefault("arrays", {})
    have = arrays.get((name, kind.str))
    if have is None or have.size < count:
        have = arrays[name, kind.str] = np.empty(count, kind)
    return have[:count].reshape(shape)


def release_scratch() -> None:
    """Lets go of what this thread keeps."""
    _kept.__dict__.clear()
