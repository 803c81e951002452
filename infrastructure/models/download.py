"""One file from the first source that gives it: resumed, checked, and only then under its own name.

Failures that may pass (no answer, a broken connection, a busy server) are tried again with growing pauses; every piece
of progress starts the count anew, so a bad line takes longer but arrives. Others go to the next source at once. What
arrives is checked as a whole; bytes that were resumed and turn out wrong are fetched once more from the beginning.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceflow.errors import FaceflowError, FaultError, ModelFileError, ResourceError, stopped
from faceflow.infrastructure.models.partial import Partial
from faceflow.infrastructure.models.sources import Opened, Source, SourceError
from faceflow.infrastructure.models.watching import PullWatcher
from faceflow.log import events
from faceflow.publish import output_error
from faceflow.vision.model_cache import FileRecord

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_PROGRESS_BYTES = 1 << 16
"""As much must have come for the failures before it to be forgotten."""
_MOST_BYTES = 32 << 30
"""No model is larger; ends a source that never ends."""


class DownloadError(FaultError):
    """No source gave a model's file. May pass, so it is worth another try."""

    family = "model"
    retryable = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to be fetched.

    Attributes:
        name: for messages and observers. path: where it will lie. size_bytes: where it is known. hash_known: whether
        `check` compares it with a known hash. check: reads the complete file, whose source is the second argument, and
        tells what is known of it.
    """

    name: str
    path: Path
    size_bytes: int | None
    hash_known: bool
    check: Callable[[Path, str], FileRecord]


@dataclass(frozen=True, slots=True)
class Downloader:
    """How files are fetched.

    Attributes:
        attempts: how often a source is asked in a row without any progress. keep_free_bytes: room that must stay free
        on the disk. watcher: hears how far it is. stop: ends all downloads of this object at their next piece.
    """

    attempts: int
    keep_free_bytes: int
    watcher: PullWatcher
    stop: threading.Event

    def fetch(self, wanted: Wanted, sources: Sequence[tuple[str, Source]]) -> FileRecord:
        """Publishes the file from the first of the sources (full address and source) that gives it.

        The caller holds the file's lock.

        Raises:
            DownloadError: `model.unreachable`, which may pass. ModelFileError: `model.unavailable`: every source
            plainly said no. ModelFileError: `model.hash`, `model.truncated`, `model.not_onnx`: a source gave something
            else. ResourceError, OutputError, StoreError: the disk cannot hold it. CancelledError: `stop` was set.
        """
        reasons = []
        passing = False
        other_content: ModelFileError | None = None
        try:
            partial = Partial(wanted.path)
            for address, source in sources:
                try:
                    return self._from(address, source, wanted, partial)
                except SourceError as failure:
                    reasons.append(f"{source.shown}: {failure.reason}")
                    passing = passing or failure.passing
                except ModelFileError as error:
                    reasons.append(f"{source.shown}: {error.message}")
                    other_content = other_content or error
                events().warning("model.source_failed", file=wanted.name, reason=reasons[-1])
        except OSError as error:
            raise self._disk_error(error, wanted) from error
        if other_content is not None:
            raise other_content
        raise _unobtained(wanted, reasons, passing=passing)

    def _from(self, address: str, source: Source, wanted: Wanted, partial: Partial) -> FileRecord:
        failures = 0
        while True:
            offset, validator = partial.resume(address, any_source=wanted.hash_known)
            try:
                with source.open(offset, validator) as opened:
                    self._receive(opened, address, wanted, partial)
            except SourceError as failure:
                failures = 0 if partial.size_bytes >= offset + _PROGRESS_BYTES else failures + 1
                if not failure.passing or failures >= self.attempts:
                    raise
                events().info("model.retry", file=wanted.name, source=source.shown, reason=failure.reason)
                self._pause(failures, failure.wait_s)
                continue
            try:
                return self._publish(source, wanted, partial)
            except ModelFileError:
                partial.clear()
                if not offset:
                    raise
                events().warning("model.resumed_wrong", file=wanted.name, source=source.shown)

    def _receive(self, opened: Opened, address: str, wanted: Wanted, partial: Partial) -> None:
        size = wanted.size_bytes or opened.size_bytes
        if opened.size_bytes not in (None, size):
            raise SourceError(f"its file has {opened.size_bytes} bytes instead of {size}", passing=False)
        self._require_room((size or 0) - opened.start, wanted)
        with partial.writing(opened.start, address, opened.validator) as append:
            self.watcher.moved(wanted.name, opened.start, size)
            for chunk in opened.chunks:
                append(chunk)
                if partial.size_bytes > (size or _MOST_BYTES):
                    partial.clear()
                    raise SourceError("it sends more than the whole file", passing=False)
                self.watcher.moved(wanted.name, partial.size_bytes, size)
                self._check_stop()
        if size is not None and partial.size_bytes < size:
            raise SourceError(f"it stopped after {partial.size_bytes} of {size} bytes", passing=True)

    def _publish(self, source: Source, wanted: Wanted, partial: Partial) -> FileRecord:
        # Whole seconds: an image layer keeps no more of the time, and the record should hold there too.
        seconds = int(partial.path.stat().st_mtime)
        os.utime(partial.path, (seconds, seconds))
        record = wanted.check(partial.path, source.shown)
        partial.publish(wanted.path)
        return record

    def _pause(self, failures: int, wait_s: float | None) -> None:
        longest_s = min(FIRST_PAUSE_S * 2 ** max(failures - 1, 0), LONGEST_PAUSE_S)
        self.stop.wait(wait_s if wait_s is not None else longest_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
        self._check_stop()

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise stopped()

    def _require_room(self, needed_bytes: int, wanted: Wanted) -> None:
        require_room(wanted.path.parent, needed_bytes, self.keep_free_bytes)

    @staticmethod
    def _disk_error(error: OSError, wanted: Wanted) -> FaceflowError:
        reason = output_error(error, wanted.path)
        if reason.code == "fault.disk_full":  # a full disk hurts others too: give back what we took
            Partial(wanted.path).clear()
        return reason


def _unobtained(wanted: Wanted, reasons: list[str], *, passing: bool) -> FaceflowError:
    if passing:
        return DownloadError(
            "model.unreachable",
            f"The file {wanted.name!r} could not be downloaded. {'. '.join(reasons)}.",
            "Check the network and FACEFLOW_MODELS__MIRROR, then run the same command again: the download "
            "continues where it stopped. Or import the file by hand with `faceflow models import`.",
            file=wanted.name,
            reasons=reasons,
        )
    return ModelFileError(
        "model.unavailable",
        f"No source has the file {wanted.name!r}. {'. '.join(reasons)}.",
        "Put it into a mirror (FACEFLOW_MODELS__MIRROR), or import it by hand with `faceflow models import`.",
        file=wanted.name,
        reasons=reasons,
    )


def require_room(folder: Path, needed_bytes: int, keep_free_bytes: int) -> None:
    """Raises `fault.disk_full` where `needed_bytes` do not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + keep_free_bytes:
        raise ResourceError(
            "fault.disk_full",
            f"The models need {needed_bytes / 1e6:.0f} MB, and {str(folder)!r} has {free / 1e6:.0f} MB free, of "
            f"which {keep_free_bytes / 1e6:.0f} MB must stay free.",
            "Free some space, or set FACEFLOW_MODELS__FOLDER to a larger disk, and run the same command again.",
            needed_bytes=needed_bytes,
        )
