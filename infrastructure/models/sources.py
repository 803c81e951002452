"""What every kind of source gives: the bytes of a file from an offset on, and why it does not give them.

A source never raises what its library raises: it raises `SourceError`, which says in plain words what happened,
without secrets, and whether it may pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that has begun to answer.

    Attributes:
        start: offset of the first byte that comes; 0 where it would not go on in the middle.
        size_bytes: of the whole file, None where the source does not say.
        validator: changes when the file at the source does (an entity tag), empty where there is none.
        chunks: the bytes. Iterating may raise `SourceError`.
    """

    start: int
    size_bytes: int | None
    validator: str
    chunks: Iterator[bytes]


class Source(Protocol):
    """One address of one file."""

    @property
    def shown(self) -> str:
        """The address for messages and records, without secrets."""
        ...

    def open(self, offset: int, validator: str) -> AbstractContextManager[Opened]:
        """Asks for the file from `offset` on, as long as it still is the one with `validator` (empty: any).

        Raises:
            SourceError: it does not answer, or not with the file.
        """
        ...


class SourceError(Exception):
    """Why a source did not give the file.

    Args:
        reason: in plain words, without secrets.
        passing: whether asking again may help.
        wait_s: how long the source asks to be left alone, seconds, None where it does not say.
    """

    def __init__(self, reason: str, *, passing: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        self.wait_s = wait_s


def shown(address: str) -> str:
    """The address without user, password, query and fragment, which may hold secrets."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
