"""Upload: the finished output goes into a store, whole and checksummed, or not at all."""

from __future__ import annotations

from faceflow.job import SwapJob
from faceflow.stages.model import Delivery, Output
from faceflow.store import Store


def run_upload(job: SwapJob, output: Output, store: Store, key: str) -> Delivery:
    """Publishes `output` in `store` under `key`.

    Raises:
        TrustError: `trust.zone`, where the store's zone may not hold media of this sensitivity.
        StoreError, OutputError, ResourceError: as `Store.put`.
    """
    stored = store.put(output.file.path, key, job.sensitivity, sha256=output.file.sha256)
    return Delivery(uri=stored.uri, link=stored.link, size_bytes=stored.size_bytes, sha256=stored.sha256)
