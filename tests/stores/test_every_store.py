"""What every store does, whatever service is behind it."""

import hashlib
import random
from pathlib import Path

import pytest

from faceflow.errors import OutputError, StoreError, TrustError, stopped
from faceflow.job import Sensitivity
from faceflow.zones import ALLOWED_ZONES, Zone
from tests.stores.conftest import MiB

SMALL = b"frames " * 1000
LARGE = random.Random(7).randbytes(11 * MiB + 3)  # three pieces


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(folder: Path, content: bytes, name: str = "local.mp4") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def put(store, local: Path, key: str, content: bytes, **options):
    return store.put(local, key, Sensitivity.PRIVATE, sha256=sha256(content), **options)


@pytest.mark.parametrize("content", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
def test_put_head_get_delete(bucket, tmp_path, content):
    store = bucket.store()
    local = write(tmp_path, content)
    stored = put(store, local, "project/job/out put.mp4", content)
    assert (stored.size_bytes, stored.sha256) == (len(content), sha256(content))
    assert stored.uri.endswith("/project/job/out put.mp4") or stored.uri.startswith("file:///")
    assert store.size_bytes("project/job/out put.mp4") == len(content)
    head = store.head("project/job/out put.mp4")
    assert (head.uri, head.size_bytes, head.sha256) == (stored.uri, stored.size_bytes, stored.sha256)
    back = tmp_path / "back.mp4"
    assert store.get("project/job/out put.mp4", back, sha256=sha256(content)).sha256 == sha256(content)
    assert back.read_bytes() == content
    store.delete("project/job/out put.mp4")
    store.delete("project/job/out put.mp4")
    assert store.head("project/job/out put.mp4") is None
    assert store.size_bytes("project/job/out put.mp4") is None


def test_put_replaces(bucket, tmp_path):
    store = bucket.store()
    put(store, write(tmp_path, b"old"), "out.mp4", b"old")
    put(store, write(tmp_path, SMALL), "out.mp4", SMALL)
    store.get("out.mp4", tmp_path / "back", sha256=sha256(SMALL))
    assert (tmp_path / "back").read_bytes() == SMALL


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_wrong_checksum_leaves_what_was_there(bucket, tmp_path, content):
    store = bucket.store()
    put(store, write(tmp_path, b"old"), "out.mp4", b"old")
    with pytest.raises(StoreError) as caught:
        store.put(write(tmp_path, content), "out.mp4", Sensitivity.PRIVATE, sha256="0" * 64)
    assert caught.value.code == "store.checksum"
    assert store.head("out.mp4").sha256 == sha256(b"old")
    with pytest.raises(StoreError) as caught:
        store.get("out.mp4", tmp_path / "back", sha256=sha256(b"other"))
    assert caught.value.code == "store.checksum"
    assert not (tmp_path / "back").exists()


def test_missing(bucket, tmp_path):
    store = bucket.store()
    assert store.head("nothing.mp4") is None
    with pytest.raises(StoreError) as caught:
        store.get("nothing.mp4", tmp_path / "x")
    assert caught.value.code == "store.missing"
    with pytest.raises(StoreError) as caught:
        store.put(tmp_path / "never made", "out.mp4", Sensitivity.PRIVATE, sha256=sha256(b""))
    assert caught.value.code == "store.source_missing"
    assert store.head("out.mp4") is None


@pytest.mark.parametrize("sensitivity", list(Sensitivity))
@pytest.mark.parametrize("zone", list(Zone))
def test_zone_is_asked_before_the_file_is_opened_or_the_service_is_called(
    moto_bucket, folder_bucket, tmp_path, sensitivity, zone
):
    for bucket in (moto_bucket, folder_bucket):
        code = "store.source_missing" if zone in ALLOWED_ZONES[sensitivity] else "trust.zone"
        with pytest.raises((TrustError, StoreError)) as caught:
            bucket.store(zone=zone).put(tmp_path / "missing", "out.mp4", sensitivity, sha256="0" * 64)
        assert caught.value.code == code
    assert moto_bucket.proxy.requests == []


@pytest.mark.parametrize(
    "key", ["", "/", ".", "/etc/passwd", "../out.mp4", "a/../../out.mp4", "a/..", "out.mp4/", "a\0b"]
)
def test_key_may_not_leave_the_prefix(moto_bucket, tmp_path, key):
    store = moto_bucket.store()
    local = write(tmp_path, SMALL)
    for call in (
        lambda: put(store, local, key, SMALL),
        lambda: store.head(key),
        lambda: store.size_bytes(key),
        lambda: store.get(key, tmp_path / "x"),
        lambda: store.delete(key),
    ):
        with pytest.raises(OutputError) as caught:
            call()
        assert caught.value.code == "output.outside_store"
    assert moto_bucket.proxy.requests == []


@pytest.mark.parametrize("key", ["a 'quoted' \"name\".mp4", "-vf.mp4", "Grüße 🎄.mp4", "100%.mp4", "a+b&c=d;e.mp4"])
def test_unusual_names(bucket, tmp_path, key):
    store = bucket.store()
    put(store, write(tmp_path, SMALL), key, SMALL)
    assert store.head(key).sha256 == sha256(SMALL)
    store.get(key, tmp_path / "back", sha256=sha256(SMALL))


def test_whoever_watches_may_end_it(bucket, tmp_path):
    store = bucket.store()
    moved = []

    def watch(size):
        moved.append(size)
        if sum(moved) > 6 * MiB:
            raise stopped()

    with pytest.raises(type(stopped())):
        put(store, write(tmp_path, LARGE), "out.mp4", LARGE, watch=watch)
    assert store.head("out.mp4") is None
    moved.clear()
    put(store, write(tmp_path, LARGE), "out.mp4", LARGE, watch=moved.append)
    assert sum(moved) == len(LARGE)
    assert store.head("out.mp4").sha256 == sha256(LARGE)
