"""Uploads that were begun, so that a repeated one continues, even in another process after a SIGKILL.

One small file an upload in the state folder: the service's name of the upload, under a token made of the place and the
content. It is no secret: without credentials nobody can use it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from contextlib import suppress
from pathlib import Path

from faceflow.own_files import read_own


class UploadRecords:
    """The records in `folder`; those older than `keep_s` seconds count as gone."""

    def __init__(self, folder: Path, keep_s: float) -> None:
        self._folder = folder
        self._keep_s = keep_s

    def find(self, token: str) -> str | None:
        """The upload that was begun under `token`, or None."""
        try:
            record = json.loads(read_own(self._path(token)))
            if time.time() - float(record["begun_at"]) < self._keep_s:
                return str(record["upload_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self.forget(token)
        return None

    def keep(self, token: str, upload_id: str) -> None:
        """Remembers an upload. Raises OSError where the folder cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        temporary = self._folder / f".{secrets.token_hex(6)}.tmp"
        temporary.write_text(json.dumps({"upload_id": upload_id, "begun_at": time.time()}))
        temporary.replace(self._path(token))

    def forget(self, token: str) -> None:
        """Removes the record. One that is not there is no error."""
        with suppress(OSError):
            self._path(token).unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self._folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > self._keep_s:
                    path.unlink()

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}.json"


def token_of(*facts: str | int) -> str:
    """The token of an upload: where to, which content, cut how. 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
