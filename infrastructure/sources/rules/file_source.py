"""Rules in a file: on a disk, a network share, or a Kubernetes ConfigMap that is mounted.

The file is looked at several times a second rather than watched by the kernel: network shares send no events, and a
mounted ConfigMap changes by a symbolic link two folders up. A look is one `stat`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import time
from pathlib import Path
from typing import NamedTuple

from faceflow.errors import FaceflowError
from faceflow.given_files import open_given
from faceflow.infrastructure.routing.document import MAX_BYTES
from faceflow.infrastructure.sources.rules.rule_source import ChangedMeanwhileError, RuleSourceError, RulesText
from faceflow.locations import portable
from faceflow.own_files import open_lock
from faceflow.publish import publishing

RESTING_S = 1.0
"""A file that was not written to for this long is not being written now."""
MOST_READINGS = 10
"""Of a file that never rests."""


class _Look(NamedTuple):
    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def mtime_s(self) -> float:
        return self.mtime_ns / 1e9


class FileSource:
    """The file at `path`, looked at every `poll_s` seconds."""

    def __init__(self, path: Path, poll_s: float) -> None:
        self._path = path.absolute()
        self._poll_s = poll_s

    @property
    def shown(self) -> str:
        """See `RuleSource`."""
        return portable(self._path)

    async def load(self) -> RulesText:
        """See `RuleSource`. The revision is the SHA-256 of the bytes.

        A file that changed just now may still be written to: it is read again until it rests between two looks.
        """
        for _ in range(MOST_READINGS):
            before = self._look()
            found = await asyncio.to_thread(self._read)
            if before is not None and abs(time.time() - before.mtime_s) > RESTING_S:
                break
            await asyncio.sleep(self._poll_s / 4)
            if self._look() == before:
                break
        return found

    async def wait_for_change(self, revision: str) -> None:
        """See `RuleSource`."""
        before = self._look()
        if (await self.load()).revision != revision:
            return
        while self._look() == before:
            await asyncio.sleep(self._poll_s)

    async def push(self, content: bytes, replaces: str | None) -> str:
        """See `RuleSource`. Safe against other pushes on this machine; the file is replaced whole."""
        return await asyncio.to_thread(self._write, content, replaces)

    async def close(self) -> None:
        """See `RuleSource`."""

    def _look(self) -> _Look | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return _Look(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)

    def _read(self) -> RulesText:
        try:
            with open_given(self._path) as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise RuleSourceError("there is no such file", absent=True) from None
        except OSError as error:
            raise RuleSourceError(f"it cannot be read ({error.strerror})") from None
        return RulesText(content, hashlib.sha256(content).hexdigest())

    def _write(self, content: bytes, replaces: str | None) -> str:
        lock_path = self._path.with_name(f".{self._path.name}.lock")
        try:
            with open_lock(lock_path) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._revision() != replaces:
                    raise ChangedMeanwhileError
                with publishing(self._path) as temporary:
                    temporary.write_bytes(content)
                    if self._path.exists():
                        temporary.chmod(self._path.stat().st_mode & 0o777)
        except FaceflowError as error:
            raise RuleSourceError(error.message) from error
        except OSError as error:
            raise RuleSourceError(f"it cannot be written ({error.strerror})") from None
        return hashlib.sha256(content).hexdigest()

    def _revision(self) -> str | None:
        try:
            return self._read().revision
        except RuleSourceError as error:
            if error.absent:
                return None
            raise
