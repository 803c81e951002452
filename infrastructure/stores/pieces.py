"""A local file cut into pieces, read and hashed once, sent side by side.

The hash of the whole is taken from the very bytes that are sent, and compared before anything is published: a file that
changed since its checksum was taken is never visible in a store.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from faceflow.errors import StoreError
from faceflow.store import Watcher, file_size, unreadable

T = TypeVar("T")

MOST_PIECES = 10_000
"""What S3 takes; Azure takes 50,000."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: its number (from 1), its bytes, and their digests (raw)."""

    number: int
    content: bytes
    sha256: bytes
    md5: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """A file to be stored.

    Attributes:
        path: where it lies.
        size_bytes: its size.
        sha256: the checksum it must have, lower-case hexadecimal.
        piece_bytes: size of all pieces but the last.
        content_type: its media type.
    """

    path: Path
    size_bytes: int
    sha256: str
    piece_bytes: int
    content_type: str

    @property
    def is_one_piece(self) -> bool:
        """Whether it is sent in one request."""
        return self.size_bytes <= self.piece_bytes

    def pieces(self) -> Iterator[Piece]:
        """All pieces in order (one, empty, of an empty file).

        Raises:
            StoreError: after the last piece, `store.checksum` where the file is not the one that was announced;
                `store.unreadable`.
        """
        whole = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                number = 1
                while (content := file.read(self.piece_bytes)) or number == 1:
                    whole.update(content)
                    md5 = hashlib.md5(content, usedforsecurity=False)
                    yield Piece(number, content, hashlib.sha256(content).digest(), md5.digest())
                    number += 1
        except OSError as error:
            raise unreadable(self.path, error) from error
        if whole.hexdigest() != self.sha256:
            raise wrong_checksum(str(self.path), self.sha256, whole.hexdigest())


def payload_of(local: Path, sha256: str, content_type: str, piece_bytes: int) -> Payload:
    """The payload of a file; pieces are made larger where there would be too many.

    Raises:
        StoreError: `store.source_missing`, `store.unreadable`.
    """
    size = file_size(local, "store.source_missing")
    least = -(-size // MOST_PIECES)
    return Payload(local, size, sha256.lower(), max(piece_bytes, least), content_type)


def send_all(payload: Payload, send: Callable[[Piece], T], parallel: int, watch: Watcher | None) -> list[T]:
    """What `send` gave for every piece, in order; at most `parallel` at a time are held in memory and on their way.

    The first failure ends it; pieces that are on their way are waited for.
    """
    results: list[T] = []
    waiting: deque[tuple[Future[T], int]] = deque()

    def take() -> None:
        future, size = waiting.popleft()
        results.append(future.result())
        if watch is not None:
            watch(size)

    with ThreadPoolExecutor(parallel, thread_name_prefix="upload") as pool:
        try:
            for piece in payload.pieces():
                if len(waiting) >= parallel:
                    take()
                waiting.append((pool.submit(send, piece), len(piece.content)))
            while waiting:
                take()
        finally:
            for future, _ in waiting:
                future.cancel()
    return results


def wrong_checksum(what: str, expected: str, found: str) -> StoreError:
    """`store.checksum` for `what` (a path or an object)."""
    return StoreError(
        "store.checksum",
        f"{what!r} does not have the expected checksum.",
        "Try again. If it happens again, check the disk and rerun the step that creates the file.",
        expected=expected,
        found=found,
    )
