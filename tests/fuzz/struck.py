"""What the tests of damaged files share: mutations of a file, a bound of memory, and how cases in a worker ended."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random

from tests.fuzz.layout import Layout
from tests.fuzz.mutate import strike
from tests.fuzz.runner import Worker


def struck(whole: bytes, seed: str, count: int) -> list[bytes]:
    """`count` mutations of a file, the same ones each time, and the file cut at some places."""
    found = []
    for number in range(count):
        random = Random(f"{seed}/{number}")
        found.append(strike(random, whole, Layout(), [whole], lambda _: Layout(), None))
    return [*found, *(whole[:place] for place in range(0, len(whole), max(1, len(whole) // 16)))]


@contextmanager
def bounded(most_bytes: int) -> Iterator[None]:
    """Fails where the block held more memory at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most_bytes, f"took {peak >> 20} MiB"


def outcomes(worker: Worker, kind: str, seed: int, numbers: Iterable[int]) -> set[str]:
    """The ways in which cases of a kind of file ended; fails with every fault among them."""
    verdicts = [worker.tried((kind, seed, number)) for number in numbers]
    faults = [str(verdict) for verdict in verdicts if verdict.fault]
    assert not faults, "\n".join(faults)
    return {verdict.outcome for verdict in verdicts}
