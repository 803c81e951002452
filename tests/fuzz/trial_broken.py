"""What a fault looks like: a trial that misbehaves in a way of its own in every case."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from faceflow.errors import MediaError

_KINDS = ("fine", "raises", "crashes", "hangs", "takes memory", "sleeps on")


def names() -> tuple[str, ...]:
    return _KINDS


def made(_bases: Path, kind: str, seed: int, number: int) -> tuple[str, bytes]:
    return ".txt", f"{kind} {seed} {number}".encode()


def attempt(path: Path, _number: int) -> str:
    kind = path.read_text().rsplit(" ", 2)[0]
    if kind == "raises":
        raise ZeroDivisionError("a clock of nought")
    if kind == "crashes":
        ctypes.string_at(0)
    if kind == "hangs":
        while True:
            pass
    if kind == "takes memory":
        bytearray(900 * 2**20)
    if kind == "sleeps on":
        time.sleep(3)  # slow alone is no fault
    return MediaError("media.empty", "It is empty.", "Fill it.").code
