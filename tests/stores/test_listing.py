"""What lies below a prefix: all of it, page by page, and only where such media may lie."""

from typing import Any

import pytest
from obstore import put

from faceflow.errors import OutputError, StoreError, StoreSetupError, TrustError
from faceflow.job import Sensitivity
from faceflow.zones import ALLOWED_ZONES, Zone
from tests.stores.conftest import Bucket
from tests.stores.proxy import Fault

LISTING = r"GET .*list-type=2"
NAMES = ["a/b.jpg", "a-b.jpg", "a.jpg", "Z.png", "é ü.webp", "100%25.jpg", " lead.jpg", "deep/er/c.jpg", "notes.txt"]


def fill(bucket: Bucket, names: list[str], prefix: str = "selfies") -> None:
    store: Any = bucket.store()
    for name in names:
        if bucket.kind == "file":
            path = store._root / prefix / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        else:
            put(store._service.objects, store._path(f"{prefix}/{name}"), b"x")


def listed(bucket: Bucket, prefix: str = "selfies", sensitivity: Sensitivity = Sensitivity.PRIVATE) -> list[str]:
    return list(bucket.store().keys(prefix, sensitivity))


def test_all_that_lies_below_a_prefix_and_nothing_else(bucket):
    fill(bucket, NAMES)
    fill(bucket, ["other.jpg"], "selfies2")
    found = listed(bucket)
    assert sorted(found) == sorted(f"selfies/{name}" for name in NAMES)
    assert listed(bucket, "selfies/") == found, "the same order again"
    assert listed(bucket, "selfies/deep") == ["selfies/deep/er/c.jpg"]
    assert sorted(listed(bucket, "")) == sorted([*found, "selfies2/other.jpg"])
    assert listed(bucket, "nothing") == []
    key = next(name for name in found if name.endswith("webp"))
    assert bucket.store().size_bytes(key) == 1, "keys are those under which objects are read"


@pytest.mark.parametrize("kind", ["folder", "moto", "google"])
def test_the_order_is_that_of_the_keys(bucket_of, kind):
    bucket = bucket_of(kind)
    fill(bucket, NAMES)
    assert listed(bucket) == sorted(f"selfies/{name}" for name in NAMES)


@pytest.mark.parametrize("sensitivity", Sensitivity)
@pytest.mark.parametrize("zone", Zone)
@pytest.mark.parametrize("kind", ["folder", "moto"])
def test_a_store_that_may_not_hold_such_media_is_not_asked(bucket_of, kind, zone, sensitivity):
    bucket = bucket_of(kind)
    if zone in ALLOWED_ZONES[sensitivity]:
        assert list(bucket.store(zone=zone).keys("", sensitivity)) == []
        return
    with pytest.raises(TrustError) as caught:
        bucket.store(zone=zone).keys("", sensitivity)
    assert caught.value.code == "trust.zone"
    assert bucket.proxy is None or bucket.proxy.requests == []


PAGE = 5
MANY = [f"{number:02d}.jpg" for number in range(1, 13)]


@pytest.fixture
def small_pages(monkeypatch):
    """The service gives five keys a page."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", str(PAGE))
    monkeypatch.setattr("faceflow.infrastructure.stores.object_store._PAGE_OBJECTS", PAGE)


def test_pages_are_asked_for_as_they_are_needed(moto_bucket, small_pages):
    fill(moto_bucket, MANY)
    keys = moto_bucket.store().keys("selfies", Sensitivity.PRIVATE)
    assert moto_bucket.proxy.count(LISTING) == 0
    first = next(keys)
    assert first == "selfies/01.jpg"
    assert moto_bucket.proxy.count(LISTING) < 3
    assert [first, *keys] == [f"selfies/{name}" for name in MANY]
    assert moto_bucket.proxy.count(LISTING) == 3


@pytest.mark.parametrize("action", ["status", "cut_response", "lose_answer"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_page_that_does_not_get_through_is_asked_for_again(moto_bucket, small_pages, action, after):
    fill(moto_bucket, MANY)
    moto_bucket.proxy.faults = [Fault(LISTING, action, times=1, after=after)]
    assert listed(moto_bucket) == [f"selfies/{name}" for name in MANY]
    assert moto_bucket.proxy.count(LISTING) == 4


def test_a_service_that_lists_folder_by_folder_goes_on_behind_the_last_key(seaweed_bucket, monkeypatch):
    fill(seaweed_bucket, NAMES)
    store = seaweed_bucket.store()
    whole = listed(seaweed_bucket)
    real, broken = type(store)._pages, []

    def pages(self, path, after):
        """Each listing breaks off after one key, as a connection does."""
        broken.append(after)
        found = (meta for page in real(self, path, after) for meta in page)
        first = next(found, None)
        if first is not None:
            yield [first]
            raise OSError("connection reset")

    monkeypatch.setattr(type(store), "_pages", pages)
    assert listed(seaweed_bucket) == whole
    assert len(broken) == len(NAMES) + 1


def test_a_listing_that_fails_for_long_says_so_and_gives_nothing_half(moto_bucket):
    fill(moto_bucket, ["a.jpg"])
    moto_bucket.proxy.faults = [Fault(LISTING, "status", times=99)]
    with pytest.raises(StoreError) as caught:
        listed(moto_bucket)
    assert caught.value.code == "store.busy"
    assert caught.value.retryable


def test_names_that_nobody_can_name(moto_bucket):
    store = moto_bucket.store()
    fill(moto_bucket, ["a.jpg"])
    from tests.stores.services import s3_client

    s3_client(moto_bucket.proxy.upstream).put_object(Bucket=moto_bucket.name, Key="faces/of/x//y.jpg", Body=b"x")
    with pytest.raises(StoreSetupError) as caught:
        list(store.keys("", Sensitivity.PRIVATE))
    assert caught.value.code == "store.key_unusual"
    assert listed(moto_bucket) == ["selfies/a.jpg"]


def test_a_bucket_that_is_not_there(moto_bucket):
    store = moto_bucket.store(address="s3://never-made")
    with pytest.raises(StoreSetupError) as caught:
        list(store.keys("selfies", Sensitivity.PRIVATE))
    assert caught.value.code == "store.bucket_missing"


@pytest.mark.parametrize("prefix", ["..", "../other", "/etc"])
def test_prefixes_that_lead_outside(bucket_of, prefix):
    for kind in ("folder", "moto"):
        with pytest.raises(OutputError) as caught:
            list(bucket_of(kind).store().keys(prefix, Sensitivity.PRIVATE))
        assert caught.value.code == "output.outside_store"


def test_links_out_of_a_folder_and_files_in_the_making_are_left_out(folder_bucket, tmp_path):
    fill(folder_bucket, ["a.jpg"])
    folder = tmp_path / "store" / "selfies"
    (tmp_path / "outside.jpg").write_bytes(b"x")
    (folder / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "in.jpg").symlink_to(folder / "a.jpg")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / ".faceflow-0123456789ab-0123456789ab.part").write_bytes(b"x")
    assert listed(folder_bucket) == ["selfies/a.jpg", "selfies/in.jpg"]
