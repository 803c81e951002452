"""Upload: the finished output goes into a store, whole and checksummed, or not at all."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.progress import SILENT, Progress
from faceflow.stages.model import Delivery, Output
from faceflow.store import Store, StoredObject


def run_upload(job: SwapJob, output: Output, store: Store, key: str, progress: Progress = SILENT) -> Delivery:
    """Publishes `output` in `store` under `key`. Asks `progress` between pieces whether to go on.

    Raises:
        TrustError: `trust.zone`, where the store's zone may not hold media of this sensitivity.
        StoreError, StoreSetupError, OutputError, ResourceError: as `Store.put`.
        CancelledError: the run was told to stop; the same upload goes on later.
    """
    stored = store.put(
        output.file.path, key, job.sensitivity, sha256=output.file.sha256, watch=lambda _bytes: progress.check()
    )
    return delivery_of(stored)


def delivery_of(stored: StoredObject) -> Delivery:
    """The delivery of a result that lies in a store."""
    return Delivery(
        uri=stored.uri,
        link=stored.link,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        link_expires_at=stored.link_expires_at,
    )
