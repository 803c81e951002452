"""Pulls that end in the middle, and what a pull tells about itself."""

from __future__ import annotations

import threading

import pytest

from faceflow.errors import CancelledError


class Watcher:
    """Remembers what it is told."""

    def __init__(self, at=None, then=None):
        self.told = []
        self.at, self.then = at, then

    def moved(self, name, done_bytes, size_bytes):
        self.told.append((name, done_bytes, size_bytes))
        if self.at is not None and done_bytes >= self.at:
            self.then()

    def waiting(self, name):
        self.told.append((name, "waiting"))

    def finished(self, name):
        self.told.append((name, "finished"))


def interrupted(bench, at, name="net", **models):
    """A pull that ends in the middle. Returns the bytes that are here."""
    stop = threading.Event()
    with pytest.raises(CancelledError):
        bench.pull(name, watcher=Watcher(at, stop.set), stop=stop, **models)
    assert not bench.path(name).exists()
    return bench.path(name).with_name(f".{name}.onnx.part").stat().st_size
