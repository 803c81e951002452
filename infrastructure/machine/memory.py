"""Keeps a long-lived process as small as what it works on, with glibc's own means; elsewhere nothing happens.

Left alone, glibc keeps what frames and crops were freed to in one heap per thread, so that a job holds what its stages
needed one after the other, all together. Threads share two heaps instead, and after each stage these are emptied. While
a stage works they are not: memory that goes back to the system comes again a page at a time, and at 1080p, where every
temporary picture of a face has some megabytes, that was an eighth of a job's CPU. x264 asks for pages of 2 MiB and
fills them a little over half: it gets small ones, which cost it no time that could be measured.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import lru_cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_PR_SET_THP_DISABLE = 41  # linux/prctl.h
_LARGE_BYTES = 4_000_000
"""A plane of a 1920 x 1080 frame and all that is made of a face are taken from the heap, a plane of 4K is not."""
_KEPT_BYTES = 64_000_000
"""What a heap keeps of what was freed until the stage ends."""
_HEAPS = 2


@lru_cache(maxsize=1)
def keep_memory_low() -> None:
    """Sets the limits, once a process."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for name, value in ((_ARENA_MAX, _HEAPS), (_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES)):
            library.mallopt(name, value)
        library.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def give_memory_back() -> None:
    """Hands what was freed back to the system."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
