"""A store takes a file whole or not at all, keeps to its zone and to its folder."""

import errno
import hashlib
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from faceflow.errors import OutputError, ResourceError, StoreError, TrustError
from faceflow.job import Sensitivity
from faceflow.publish import publishing
from faceflow.store import FolderStore, Store
from faceflow.zones import ALLOWED_ZONES, Zone

CONTENT = b"frames " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "local.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def root(tmp_path):
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def store(root):
    return FolderStore(root, Zone.PRIVATE)


def put(store: Store, local: Path, key: str = "out.mp4", sha256: str = SHA256):
    return store.put(local, key, Sensitivity.PRIVATE, sha256=sha256)


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_put_head_get_delete(store, local, root, tmp_path):
    stored = put(store, local, "project/job/out put.mp4")
    assert stored.sha256 == SHA256
    assert stored.size_bytes == len(CONTENT)
    assert stored.uri.startswith("file:///")
    assert Path(stored.link).read_bytes() == CONTENT
    assert store.head("project/job/out put.mp4") == stored
    assert store.get("project/job/out put.mp4", tmp_path / "back.mp4", sha256=SHA256) == stored
    assert (tmp_path / "back.mp4").read_bytes() == CONTENT
    store.delete("project/job/out put.mp4")
    store.delete("project/job/out put.mp4")
    assert store.head("project/job/out put.mp4") is None
    assert files(root) == []


def test_put_replaces(store, local, root):
    (root / "out.mp4").write_bytes(b"old")
    put(store, local)
    assert (root / "out.mp4").read_bytes() == CONTENT
    assert files(root) == ["out.mp4"]


def test_local_file_may_be_the_stored_one(store, root):
    (root / "out.mp4").write_bytes(CONTENT)
    put(store, root / "out.mp4")
    assert (root / "out.mp4").read_bytes() == CONTENT


def test_wrong_checksum_leaves_the_old_file(store, local, root, tmp_path):
    (root / "out.mp4").write_bytes(b"old")
    with pytest.raises(StoreError) as caught:
        put(store, local, sha256="0" * 64)
    assert caught.value.code == "store.checksum"
    assert caught.value.retryable
    assert (root / "out.mp4").read_bytes() == b"old"
    assert files(root) == ["out.mp4"]
    with pytest.raises(StoreError) as caught:
        store.get("out.mp4", tmp_path / "back", sha256=SHA256)
    assert caught.value.code == "store.checksum"
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("sensitivity", list(Sensitivity))
@pytest.mark.parametrize("zone", list(Zone))
def test_zone(root, tmp_path, sensitivity, zone):
    store = FolderStore(root, zone)
    missing = tmp_path / "never opened"  # the zone is checked before the file is looked at
    code = "store.source_missing" if zone in ALLOWED_ZONES[sensitivity] else "trust.zone"
    with pytest.raises((TrustError, StoreError)) as caught:
        store.put(missing, "out.mp4", sensitivity, sha256=SHA256)
    assert caught.value.code == code
    assert files(root) == []


@pytest.mark.parametrize(
    "key", ["", "/", ".", "/etc/passwd", "../out.mp4", "a/../../out.mp4", "a/..", "out.mp4/", "a\0b", "link/out.mp4"]
)
def test_key_may_not_lead_outside(store, local, root, tmp_path, key):
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    for call in (
        lambda: put(store, local, key),
        lambda: store.head(key),
        lambda: store.get(key, tmp_path / "x"),
        lambda: store.delete(key),
    ):
        with pytest.raises(OutputError) as caught:
            call()
        assert caught.value.code == "output.outside_store"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_link_to_a_file_outside_is_neither_read_nor_written(store, local, root, tmp_path):
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"not yours")
    (root / "out.mp4").symlink_to(outside)
    with pytest.raises(OutputError):
        store.head("out.mp4")
    with pytest.raises(OutputError) as caught:
        put(store, local)
    assert caught.value.code == "output.outside_store"
    assert outside.read_bytes() == b"not yours"
    assert (root / "out.mp4").is_symlink()


def test_link_to_a_file_inside_stays_a_link(store, local, root):
    (root / "real.mp4").write_bytes(b"earlier")
    (root / "out.mp4").symlink_to("real.mp4")
    put(store, local)
    assert (root / "out.mp4").is_symlink()
    assert (root / "real.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "key", ["a 'quoted' \"name\".mp4", "line\nbreak.mp4", "-vf.mp4", "Grüße 🎄.mp4", "x" * 251 + ".mp4"]
)
def test_unusual_names(store, local, key):
    put(store, local, key)
    assert store.head(key).sha256 == SHA256


def test_missing_folder(tmp_path, local):
    with pytest.raises(OutputError) as caught:
        put(FolderStore(tmp_path / "nowhere", Zone.PRIVATE), local)
    assert caught.value.code == "output.folder_missing"
    assert not (tmp_path / "nowhere").exists()


def test_missing_object(store, tmp_path):
    with pytest.raises(StoreError) as caught:
        store.get("nothing.mp4", tmp_path / "x")
    assert caught.value.code == "store.missing"


def test_too_little_room_is_said_before_a_byte_is_written(root, local):
    store = FolderStore(root, Zone.PRIVATE, keep_free_bytes=2**62)
    with pytest.raises(ResourceError) as caught:
        put(store, local)
    assert caught.value.code == "fault.disk_full"
    assert caught.value.retryable
    assert files(root) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "fault.disk_full"),
        (errno.EDQUOT, "fault.disk_full"),
        (errno.EACCES, "output.not_writable"),
        (errno.EROFS, "output.not_writable"),
        (errno.EIO, "store.io"),
    ],
)
def test_disk_says_no(store, local, root, monkeypatch, number, code):
    (root / "out.mp4").write_bytes(b"old")

    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("faceflow.store.shutil.copyfileobj", refuse)
    with pytest.raises((ResourceError, OutputError, StoreError)) as caught:
        put(store, local)
    assert caught.value.code == code
    assert (root / "out.mp4").read_bytes() == b"old"
    assert files(root) == ["out.mp4"]


def test_folder_in_the_way(store, local, root):
    (root / "out.mp4").mkdir()
    with pytest.raises(OutputError) as caught:
        put(store, local)
    assert caught.value.code == "output.is_directory"
    (root / "file").write_bytes(b"")
    with pytest.raises(OutputError) as caught:
        put(store, local, "file/out.mp4")
    assert caught.value.code in ("output.folder_missing", "output.bad_name", "output.not_writable")


def test_name_too_long(store, local):
    with pytest.raises(OutputError) as caught:
        put(store, local, "x" * 300)
    assert caught.value.code == "output.bad_name"


def _hang(destination, started):
    with publishing(Path(destination)) as temporary:
        temporary.write_bytes(b"half")
        started.set()
        time.sleep(600)


def test_leftovers_of_a_killed_writer_are_removed_by_the_next(root):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    writer = context.Process(target=_hang, args=(str(root / "out.mp4"), started), daemon=True)
    writer.start()
    assert started.wait(20)
    with publishing(root / "out.mp4") as temporary:  # the other one lives: its file stays
        temporary.write_bytes(b"whole")
        assert len(files(root)) == 2
    assert len(files(root)) == 2
    writer.kill()
    writer.join()
    assert len(files(root)) == 2
    with publishing(root / "out.mp4") as temporary:
        temporary.write_bytes(b"again")
    assert files(root) == ["out.mp4"]
    assert (root / "out.mp4").read_bytes() == b"again"


def test_published_file_has_ordinary_permissions(root):
    old = os.umask(0o027)
    try:
        with publishing(root / "out.mp4") as temporary:
            temporary.write_bytes(b"x")
    finally:
        os.umask(old)
    assert (root / "out.mp4").stat().st_mode & 0o777 == 0o640


def test_interrupt_leaves_nothing(root):
    with pytest.raises(KeyboardInterrupt), publishing(root / "out.mp4") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert files(root) == []
