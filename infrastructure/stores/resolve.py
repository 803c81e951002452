"""From the location of an output or input to the store that holds it and the key under which it lies there."""

from __future__ import annotations

from pathlib import Path

from faceflow.errors import JobError
from faceflow.infrastructure.stores.addresses import NAMED, Place, find_place, scheme_of, split_named, unknown_store
from faceflow.infrastructure.stores.object_store import ObjectStore
from faceflow.infrastructure.stores.service import Service, require_package
from faceflow.infrastructure.stores.store_settings import SettingsWithStores, StoreConnection
from faceflow.infrastructure.stores.uploads import UploadRecords
from faceflow.job import SwapJob
from faceflow.locations import in_store, local_path
from faceflow.publish import followed
from faceflow.stages.preflight import inputs_of
from faceflow.store import FolderStore, Store
from faceflow.zones import require_zone


def store_for(location: str, settings: SettingsWithStores, **fields: str) -> tuple[Store, str]:
    """The store and key that `location` means. A folder lies in the zone of the machine, a store in its own.

    Args:
        location: a path, or an address that `faceflow.infrastructure.stores.addresses` knows.
        settings: the configured stores.
        fields: what stands for `{project}` and `{job_id}` in the address of an object. Paths are taken literally.

    Raises:
        JobError: `job.location_unsupported`, `job.store_unknown`, `job.store_ambiguous`.
        StoreSetupError: `store.extra_missing`.
    """
    if not in_store(location):
        path = followed(local_path(location))
        return FolderStore(path.parent, settings.pool.zone), path.name
    place, key = _place(location, settings)
    for name, value in fields.items():
        key = key.replace(f"{{{name}}}", value)
    return store_at(place, settings), key


def prefix_for(location: str, settings: SettingsWithStores) -> tuple[Store, str]:
    """The store that holds what lies below an address, and the prefix there; an empty one means all of the store.

    Raises:
        JobError: `job.location_unsupported`, `job.store_unknown`, `job.store_ambiguous`.
        StoreSetupError: `store.extra_missing`.
    """
    place, prefix = _place(f"{location.rstrip('/')}/", settings, whole=True)
    return store_at(place, settings), prefix.rstrip("/")


def store_at(place: Place, settings: SettingsWithStores) -> Store:
    """The store of a place."""
    keep_free_bytes = settings.pipeline.keep_free_bytes
    if place.kind == "file":
        return FolderStore(local_path(place.connection.address), place.connection.zone, keep_free_bytes=keep_free_bytes)
    return ObjectStore(place, _service(place, settings), settings.stores, keep_free_bytes=keep_free_bytes)


def needs_server(job: SwapJob, settings: SettingsWithStores) -> bool:
    """Whether one of the job's stores is none of the settings', so that only a Prefect block can name it."""
    return any(is_in_block(location, settings) for location in (job.output, *inputs_of(job)))


def is_in_block(location: str, settings: SettingsWithStores) -> bool:
    """Whether the address names a store that is none of the settings', so that only a Prefect block can say more."""
    return scheme_of(location) == NAMED and split_named(location)[0] not in settings.stores.named


def check_output(job: SwapJob, settings: SettingsWithStores) -> None:
    """Says before any work is done what would end the upload, as far as it can be told without writing.

    Raises:
        TrustError: `trust.zone`, where the store's zone may not hold the result.
        JobError, OutputError, StoreSetupError, StoreError: as `store_for` and `Store`.
    """
    if not in_store(job.output):
        return
    store, key = store_for(job.output, settings)
    require_zone(job.sensitivity, store.zone, store.name)
    if isinstance(store, ObjectStore):
        store.check(key)
    else:
        store.size_bytes(key)


def _place(location: str, settings: SettingsWithStores, *, whole: bool = False) -> tuple[Place, str]:
    if scheme_of(location) != NAMED:
        return find_place(location, settings.stores)
    name, key = split_named(location)
    connection = settings.stores.named.get(name) or _from_block(name)
    if connection is None:
        raise unknown_store(name, settings.stores)
    if not key and not whole:
        raise JobError(
            "job.location_unsupported",
            f"{location!r} names a store but no object in it.",
            "Add the object's name: store://NAME/KEY.",
        )
    return Place(name, connection), key


def _from_block(name: str) -> StoreConnection | None:
    from faceflow.infrastructure.stores.store_block import connection_of  # Prefect: only where a name needs it

    return connection_of(name)


def _service(place: Place, settings: SettingsWithStores) -> Service:
    """The bucket. What the clouds publish for their services is imported only where a job needs it: it is large."""
    if place.kind == "s3":
        require_package("boto3", "s3", place.shown)
        from faceflow.infrastructure.stores.s3_service import S3Service

        return S3Service(place, settings.stores, UploadRecords(_uploads(settings), settings.stores.keep_uploads_s))
    if place.kind == "az":
        require_package("azure.storage.blob", "azure", place.shown)
        require_package("azure.identity", "azure", place.shown)
        from faceflow.infrastructure.stores.azure_service import AzureService

        return AzureService(place, settings.stores)
    from faceflow.infrastructure.stores.gcs_service import GcsService

    return GcsService(place, settings.stores)


def _uploads(settings: SettingsWithStores) -> Path:
    return settings.paths.state / "uploads"
