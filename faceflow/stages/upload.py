"""Upload: the finished output goes into a store, whole and checksummed, or not at all."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.progress import SILENT, Progress
from faceflow.stages.results import Delivery, Output
from faceflow.store import Store, StoredObject


def run_upload(job: SwapJob, output: Output, store: Store, key: str, progress: Progress = SILENT) -> Delivery:
    """Publishes `output` in `store` under `key`. Asks `progress` between pieces whether to go on.

    Raises:
        TrustError: `trust.zone`, where the store's zone may not hold media of this sensitivity.
        StoreError, StoreSetupError, OutputError, ResourceError: as `Store.put`.
        CancelledError: the run was told to stop; the same upload goes on later.
    """
    replaced = _holds_something_else(store, key, output)
    stored = store.put(
        output.file.path, key, job.sensitivity, sha256=output.file.sha256, watch=lambda _bytes: progress.check()
    )
    return delivery_of(stored).model_copy(update={"replaced": replaced})


def _holds_something_else(store: Store, key: str, output: Output) -> bool:
    size_bytes = store.size_bytes(key)
    if size_bytes is None or size_bytes != output.file.size_bytes:
        return size_bytes is not None
    there = store.head(key)
    return there is not None and there.sha256 != output.file.sha256


def delivery_of(stored: StoredObject) -> Delivery:
    """The delivery of a result that lies in a store."""
    return Delivery(
        uri=stored.uri,
        link=stored.link,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        link_expires_at=stored.link_expires_at,
    )
