"""Prefect's server as the process that the keeper starts: `prefect server start`, tidied up off its event loop.

On SQLite a server could stand still for a minute. Python collects garbage on whichever thread happens to allocate, in
this server nearly always the one of the event loop, and among the garbage are cursors whose statement failed ("database
is locked", an everyday answer of a busy SQLite, which Prefect tries again). Freeing such a cursor resets its statement,
which takes the mutex of its connection; while that connection waits for the write lock for its next user, its thread
holds the mutex, for up to Prefect's `busy_timeout` of 60 s. Where the write lock belongs to a coroutine of this same
event loop, nobody can go on: the loop waits for the mutex, the mutex for the lock, the lock for the loop. Nothing was
answered until the timeout, then everything that had waited failed.

So the loop's thread collects nothing here. A thread that has nothing else to do does it, and when that one has to wait
for a connection, the loop goes on, the lock is given back, and the wait ends.

Run as `python -m faceflow.infrastructure.machine.server.process` with the options of `prefect server start`.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from faceflow.infrastructure.machine.server import program

YOUNG_EVERY_S = 1.0
FULL_EVERY = 30
"""Of so many collections one looks at everything, the others at what is young (generations 0 and 1)."""


def collect_garbage(stop: threading.Event, young_every_s: float) -> None:
    """Collects what reference counts do not free, until `stop`."""
    turn = 0
    while not stop.wait(young_every_s):
        turn += 1
        gc.collect(2 if turn % FULL_EVERY == 0 else 1)


@contextmanager
def garbage_collected_aside(young_every_s: float = YOUNG_EVERY_S) -> Iterator[None]:
    """Inside, garbage of this process is collected on a thread of its own, every `young_every_s` seconds."""
    stop = threading.Event()
    gc.disable()
    thread = threading.Thread(target=collect_garbage, args=(stop, young_every_s), name="garbage collector", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        gc.enable()


def main() -> None:
    """Serves until a signal ends it."""
    with garbage_collected_aside():
        program.main("prefect", ["server", "start", *sys.argv[1:]])


if __name__ == "__main__":
    main()
