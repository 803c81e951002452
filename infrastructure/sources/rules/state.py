"""What can be said about the rules in force, and the file in the state folder that survives a restart.

    <state>/rules/<hash of the address>.json      the last good text, and `RuleState`

Several processes follow the same source and share the file. Each writes only what it saw later than what is there, so
that a slow process never puts older rules back.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from faceflow.errors import FaceflowError
from faceflow.job import FrozenModel
from faceflow.log import events
from faceflow.own_files import open_lock, read_own
from faceflow.publish import publishing

CLOCK_SET_BACK = timedelta(minutes=5)
"""What lies further ahead was written under another clock."""


class LiveRules(FrozenModel):
    """The rules that are in force."""

    version: int
    hash: str
    """SHA-256 over the content, as on every decision."""
    revision: str
    """The source's own name for the text."""
    since: datetime


class Refusal(FrozenModel):
    """Rules that were pushed and not taken, because they have mistakes."""

    revision: str
    problems: tuple[str, ...]
    """What is wrong, by line and field."""
    since: datetime


class Outage(FrozenModel):
    """The source does not answer, or the rules are not there any more."""

    reason: str
    since: datetime


class RuleState(FrozenModel):
    """All that can be said about the rules of one source."""

    source: str
    """Address, without secrets."""
    live: LiveRules | None = None
    refused: Refusal | None = None
    """What lies in the source now, where it was not taken."""
    outage: Outage | None = None
    confirmed_at: datetime | None = None
    """When the source last answered."""


class Kept(FrozenModel):
    """What the file holds."""

    text: str | None = None
    """The last good text; None while there has been none."""
    state: RuleState


class KeptFile:
    """The file for the source with the address `shown`, below `folder`."""

    def __init__(self, folder: Path, shown: str) -> None:
        self._path = folder / f"{hashlib.sha256(shown.encode()).hexdigest()[:16]}.json"
        self._shown = shown

    def read(self) -> Kept:
        """What is kept; nothing where there is no file, or one that is of no use."""
        try:
            kept = Kept.model_validate_json(read_own(self._path))
        except FileNotFoundError:
            return Kept(state=RuleState(source=self._shown))
        except (OSError, ValidationError) as error:
            events().warning("rules.kept_unreadable", source=self._shown, reason=type(error).__name__)
            return Kept(state=RuleState(source=self._shown))
        return kept.model_copy(update={"state": kept.state.model_copy(update={"source": self._shown})})

    def write(self, kept: Kept, seen_at: datetime) -> None:
        """Keeps `kept`, unless another process wrote what it saw after `seen_at`. What was seen far in the future was
        seen before the clock was set back, and is no newer.

        A folder that cannot be written is reported and otherwise does no harm: the rules are in force all the same,
        only a restart would not find them.
        """
        try:
            with self._locked():
                before = self.read()
                last = before.state.confirmed_at
                newer = last is not None and seen_at < last < seen_at + CLOCK_SET_BACK
                if not newer and kept != before:
                    with publishing(self._path) as temporary:
                        temporary.write_text(kept.model_dump_json(), encoding="utf-8")
        except (OSError, FaceflowError) as error:
            events().warning("rules.not_kept", source=self._shown, reason=str(error))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_lock(self._path.with_suffix(".lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
