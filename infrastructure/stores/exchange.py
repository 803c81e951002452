"""Where the finished parts of a job lie, so that another worker can go on with it or join them.

What survives a lost machine is the encoded part. A job that several workers do, side by side as shards or one after
the other as attempts, therefore publishes into a folder that all of them reach: once what it was prepared to (facts
of the media, plan, the files that these name), then every part. Who comes later looks there first.

    <folder>/<project>/<job id>/<versions>/prepared.json                    the job as it is worked on
                                           files/<SHA-256>.npz what that names <number>-<first>-<frames>.json a part,
                                           written after <SHA-256>.mp4 its bytes <number>-<first>-<frames>.taken a
                                           helper works on it

`versions` is the digest of everything but the job that decides on the bytes; workers with other versions see nothing
of each other. Bytes go through a `Store`, which refuses media that its zone may not hold.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from faceflow.errors import StoreError
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.job import FrozenModel, Sensitivity, SwapJob
from faceflow.locations import local_path
from faceflow.media.facts import Segment
from faceflow.own_files import read_own
from faceflow.publish import output_error, publishing
from faceflow.stages.identity import JobIdentity
from faceflow.stages.results import Artifact, Mezzanine, Part, Plan, ValidatedJob
from faceflow.store import FolderStore, Store
from faceflow.zones import require_zone

ModelT = TypeVar("ModelT", bound=BaseModel)

_PREPARED = "prepared.json"
_FILE_NAME = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}")
"""What files are called here; a record that names another is damaged, and leads nowhere."""


class PreparedJob(FrozenModel):
    """A job when everything is known that its segments need."""

    validated: ValidatedJob
    mezzanine: Mezzanine
    plan: Plan


class Exchange:
    """The place of one job in the exchange folder. Calls block."""

    def __init__(
        self, settings: SettingsWithStores, identity: JobIdentity, sensitivity: Sensitivity, versions: str
    ) -> None:
        self._folder = exchange_folder(settings)
        self._job = self._folder / identity.project / identity.job_id
        self._root = self._job / versions
        self._sensitivity = sensitivity
        self._store: Store = FolderStore(self._root, settings.exchange.zone or settings.pool.zone)

    def publish_prepared(self, prepared: PreparedJob) -> None:
        """Publishes the files that `prepared` names, then itself.

        Raises:
            TrustError: `trust.zone`, before a byte is written.
            StoreError, ResourceError, OutputError: as `Store.put`.
        """
        self._create()
        for name, path, sha256 in _files(prepared):
            self._store.put(path, f"files/{name}", self._sensitivity, sha256=sha256)
        self._write(_PREPARED, prepared)

    def fetch_prepared(self, job: SwapJob, directory: Path) -> PreparedJob | None:
        """The job as it was prepared, with its files in `directory` and its inputs where `job` says; None: it was not.

        Raises:
            StoreError, ResourceError, OutputError: as `Store.get`.
        """
        prepared = self._read(_PREPARED, PreparedJob)
        if prepared is None or not all(_FILE_NAME.fullmatch(name) for name, _, _ in _files(prepared)):
            return None
        places: dict[Path, Path] = {}
        try:
            for name, path, sha256 in _files(prepared):
                places[path] = directory / name
                self._store.get(f"files/{name}", places[path], sha256=sha256)
        except StoreError as error:
            if error.code not in {"store.missing", "store.checksum"}:
                raise
            return None  # as good as not prepared
        target = local_path(job.target)
        places[prepared.validated.target] = target
        moved: PreparedJob = _relocated(prepared, lambda path: places.get(path, path))
        sources = tuple((source.name, tuple(map(local_path, source.portraits))) for source in job.sources)
        return moved.model_copy(update={"validated": moved.validated.model_copy(update={"sources": sources})})

    def publish_part(self, part: Part) -> None:
        """Publishes a part, once. Raises as `publish_prepared`."""
        if self.has_part(part.segment):
            return
        self._create()
        self._store.put(part.file.path, _part_file(part), self._sensitivity, sha256=part.file.sha256)
        self._write(_part_name(part.segment), part)

    def has_part(self, segment: Segment) -> bool:
        """Whether the part of `segment` was published; its bytes are not looked at."""
        part = self._part_of(segment)
        return part is not None and (self._root / _part_file(part)).is_file()

    def fetch_part(self, segment: Segment, directory: Path) -> Part | None:
        """The part of `segment`, copied into `directory` and verified; None where there is none that is whole.

        Raises:
            StoreError, ResourceError, OutputError: as `Store.get`.
        """
        part = self._part_of(segment)
        if part is None:
            return None
        path = directory / f"part-{segment.number:05d}{part.file.path.suffix}"
        try:
            self._store.get(_part_file(part), path, sha256=part.file.sha256)
        except StoreError as error:
            if error.code not in {"store.missing", "store.checksum"}:
                raise
            return None
        return part.model_copy(update={"file": part.file.model_copy(update={"path": path})})

    def take(self, segment: Segment) -> bool:
        """Says that this process works on a segment of another's share; False where somebody has said so before.

        Raises:
            StoreError, ResourceError, OutputError: as `publish_prepared`.
        """
        self._create()
        try:
            (self._root / _mark(segment)).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            raise output_error(error, self._root) from error
        return True

    def taken_for_s(self, segment: Segment) -> float | None:
        """How long ago somebody took `segment`, seconds; None where nobody did.

        By this machine's clock and the folder's: where they differ by d, so does what is told.
        """
        try:
            return abs(time.time() - (self._root / _mark(segment)).stat().st_mtime)
        except OSError:
            return None

    def untouched(self, segments: Iterable[Segment]) -> list[Segment]:
        """Those that were neither published nor taken; one look at the folder, however many there are."""
        try:
            names = {path.name for path in self._root.iterdir()}
        except OSError:
            names = set()
        return [segment for segment in segments if names.isdisjoint((_part_name(segment), _mark(segment)))]

    def clear(self) -> None:
        """Removes everything of the job."""
        shutil.rmtree(self._job, ignore_errors=True)

    def _part_of(self, segment: Segment) -> Part | None:
        part = self._read(_part_name(segment), Part)
        if part is None or part.segment != segment or not _FILE_NAME.fullmatch(_part_file(part)):
            return None
        return part

    def _create(self) -> None:
        # Before a folder names a job where it may not even be known.
        require_zone(self._sensitivity, self._store.zone, self._store.name)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(error, self._root) from error

    def _write(self, name: str, value: BaseModel) -> None:
        with publishing(self._root / name) as temporary:
            temporary.write_text(value.model_dump_json())

    def _read(self, name: str, kind: type[ModelT]) -> ModelT | None:
        try:
            return kind.model_validate_json(read_own(self._root / name))
        except (OSError, ValueError):  # not there, or not what was written: no text, no JSON, not of this form
            return None


def exchange_folder(settings: SettingsWithStores) -> Path:
    """The folder that workers share."""
    return settings.exchange.folder or settings.paths.state / "exchange"


def remove_stale_exchange(settings: SettingsWithStores, keep_s: float) -> int:
    """Removes what was published for jobs of which nothing was published for `keep_s` seconds. Returns how many."""
    removed = 0
    for job in exchange_folder(settings).glob("*/*"):
        try:
            last = max(path.stat().st_mtime for path in [job, *job.rglob("*")])
        except FileNotFoundError:  # somebody else removes it
            continue
        if time.time() - last >= keep_s:
            shutil.rmtree(job, ignore_errors=True)
            removed += 1
    return removed


def _files(prepared: PreparedJob) -> list[tuple[str, Path, str]]:
    """Name in the exchange, path and SHA-256 of every file that a worker elsewhere does not have."""
    found = {artifact.path: artifact.sha256 for artifact in _artifacts(prepared)}
    if prepared.mezzanine.video != prepared.validated.target:
        found[prepared.mezzanine.video] = prepared.mezzanine.video_sha256
    return [(f"{sha256}{path.suffix}", path, sha256) for path, sha256 in found.items()]


def _artifacts(value: Any) -> list[Artifact]:
    if isinstance(value, Artifact):
        return [value]
    if isinstance(value, BaseModel):
        return [artifact for name in type(value).model_fields for artifact in _artifacts(getattr(value, name))]
    return []


def _relocated(value: Any, moved: Callable[[Path], Path]) -> Any:
    """The same model with every path in it moved."""
    if isinstance(value, Path):
        return moved(value)
    if isinstance(value, BaseModel):
        fields = {name: _relocated(getattr(value, name), moved) for name in type(value).model_fields}
        return value.model_copy(update=fields)
    return value


def _part_name(segment: Segment) -> str:
    return f"{_stem(segment)}.json"


def _mark(segment: Segment) -> str:
    return f"{_stem(segment)}.taken"


def _stem(segment: Segment) -> str:
    return f"{segment.number:05d}-{segment.first}-{segment.frames}"


def _part_file(part: Part) -> str:
    return f"{part.file.sha256}{part.file.path.suffix}"
