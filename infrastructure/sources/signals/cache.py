"""What a source said last, in the state folder: `<state>/signals/<source>.json`.

Dispatches are short processes; without this each would ask the clouds for the same prices. The file is replaced whole,
so readers need no lock. Nothing in it is worth an error: a file that cannot be read or written is as good as none.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from faceflow.errors import FaceflowError
from faceflow.infrastructure.sources.signals.signal_source import Reading
from faceflow.job import FrozenModel
from faceflow.log import events
from faceflow.own_files import read_own
from faceflow.publish import publishing


class Said(FrozenModel):
    """What a source said, and when it was asked."""

    asked_at: datetime
    question: str
    """What was asked about, so that other pools or other queries do not take these readings for theirs."""
    readings: tuple[Reading, ...]


class SignalCache:
    """The files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = False

    def read(self, name: str, question: str) -> Said | None:
        """What the source `name` said last to the same question; None where nothing is known."""
        try:
            said = Said.model_validate_json(read_own(self._path(name)))
        except (OSError, ValidationError):
            return None
        return said if said.question == question else None

    def write(self, name: str, said: Said) -> None:
        """Keeps what a source said."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with publishing(self._path(name)) as temporary:
                temporary.write_text(said.model_dump_json(), encoding="utf-8")
        except (OSError, FaceflowError) as error:
            if not self._told:
                self._told = True
                events().warning("signals.not_kept", reason=str(error))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
