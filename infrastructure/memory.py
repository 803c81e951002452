"""Keeps a long-lived process as small as what it works on, with glibc's own means; elsewhere nothing happens.

Left alone, glibc keeps what frames and crops were freed to in one heap per thread, so that a job holds what its stages
needed one after the other, all together. Frames get memory of their own instead, which goes back when they do, threads
share two heaps, and after each stage the heaps are emptied. x264 asks for pages of 2 MiB and fills them a little over
half: it gets small ones, which cost it no time that could be measured.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import lru_cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_PR_SET_THP_DISABLE = 41  # linux/prctl.h
_LARGE_BYTES = 1_000_000
"""A plane of a 1280 x 720 frame is taken from the heap, one of 1920 x 1080 is not."""
_HEAPS = 2


@lru_cache(maxsize=1)
def keep_memory_low() -> None:
    """Sets the limits, once a process."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for name, value in ((_ARENA_MAX, _HEAPS), (_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _LARGE_BYTES)):
            library.mallopt(name, value)
        library.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def give_memory_back() -> None:
    """Hands what was freed back to the system."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
