"""One cloud for all tests here, and a clip in the store of every zone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from faceflow.zones import Zone
from tests.cloud.assembly import running_cloud
from tests.cloud.bench import Bench, Outcome
from tests.cloud.cloud import Cloud
from tests.dispatch.jobs import SEGMENTS
from tests.faces import face_clip, portrait
from tests.postgres import Postgres


@pytest.fixture(scope="session")
def cloud(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    inputs = folder / "inputs"
    inputs.mkdir()
    with running_cloud(folder, postgres) as cloud:
        source, target = portrait(inputs), face_clip(inputs / "target.mp4", seconds=4.0)
        for store in cloud.stores.values():
            store.put(source)
            store.put(target)
        yield cloud


@pytest.fixture(scope="session")
def bench(cloud: Cloud) -> Bench:
    """With the bytes of a run that nothing disturbed."""
    said = cloud.dispatch(cloud.job("undisturbed.mp4", project="undisturbed"))
    request, _, _ = cloud.follow(said["request_id"])
    assert request.state == "done", request.reason
    return Bench(cloud, hashlib.sha256(cloud.stores[Zone.PUBLIC].results()["undisturbed.mp4"]).hexdigest())


def check(outcome: Outcome) -> None:
    """What has to be true after every fault."""
    fault = outcome.fault
    assert outcome.request.state == "done", outcome.request.reason
    assert outcome.same_bytes
    assert outcome.request.attempt == fault.attempts
    assert len(outcome.containers) == fault.containers
    assert outcome.without_need == []
    assert outcome.made_later <= set(range(SEGMENTS)) - outcome.published
    assert outcome.spent_once, (outcome.runs, outcome.money)
    assert outcome.left_in_scratch == []
    assert outcome.left_in_exchange == []
    first = outcome.runs[0]
    assert fault.reason in f"{first.reason} {first.error_code}", first
