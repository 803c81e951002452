"""A pull brings the right files, once, and says at the beginning what cannot be."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from faceflow.errors import FaceflowError
from faceflow.infrastructure.models import download, fetcher
from faceflow.vision.model_cache import CacheState, ModelCache
from tests.models.conftest import CONTENT, OTHER, onnx_bytes, sha256
from tests.models.interrupting import Watcher
from tests.models.server import Behaviour

UNKNOWN = ""


def test_a_model_comes_once(bench):
    bench.add("net")
    watcher = Watcher()
    assert bench.pull(watcher=watcher).pulled == ["net"]
    assert bench.path().read_bytes() == CONTENT
    assert bench.files() == {"net.onnx", "net.onnx.record"}
    assert (watcher.told[0], watcher.told[-2], watcher.told[-1]) == (
        ("net.onnx", 0, len(CONTENT)),
        ("net.onnx", len(CONTENT), len(CONTENT)),
        ("net.onnx", "finished"),
    )
    assert bench.pull().present == ["net"]
    assert len(bench.server.seen) == 1
    assert bench.path().stat().st_mtime_ns % 10**9 == 0, "an image layer keeps whole seconds only"


def test_the_record_says_where_it_came_from(bench):
    bench.add("net")
    bench.pull()
    record = ModelCache(bench.tmp_path / "cache").record(bench.path())
    assert (record.sha256, record.source, record.first_use) == (
        sha256(CONTENT),
        f"{bench.server.url}/net.onnx",
        False,
    )


def test_many_come_side_by_side_and_no_more_than_allowed(bench):
    contents = {f"net{number}": onnx_bytes(60_000, number) for number in range(6)}
    for name, content in contents.items():
        bench.add(name, content).pause_s = 0.02
    assert sorted(bench.pull(*contents, parallel=3).pulled) == sorted(contents)
    assert bench.server.most_at_once == 3
    for name, content in contents.items():
        assert bench.path(name).read_bytes() == content


def test_what_a_model_needs_comes_with_it(bench):
    bench.add("part", OTHER)
    bench.add("net", more='needs = ["part"]')
    assert sorted(bench.pull("net").pulled) == ["net", "part"]


def test_an_installed_variant_serves_who_needs_it(bench):
    bench.add("part", CONTENT)
    bench.add("twin", OTHER, more='variant_of = "part"')
    bench.add("net", onnx_bytes(5000), more='needs = ["part"]')
    bench.pull("twin")
    assert sorted(bench.pull("net").pulled) == ["net"]
    assert bench.pull("part").pulled == ["part"], "unless it is asked for by name"


def test_redirects_are_followed(bench):
    bench.add("net")
    bench.server.files["/a.onnx"] = Behaviour(status=302, headers={"Location": "/net.onnx"})
    bench.add("far", sources=[f"{bench.server.url}/a.onnx"])
    bench.pull("far")
    assert bench.path("far").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("location", "why"), [("/net.onnx", "redirects more than"), ("ftp://127.0.0.1/net.onnx", "unsafe address (ftp)")]
)
def test_redirects_end(bench, location, why):
    bench.add("net")
    bench.server.files["/net.onnx"] = Behaviour(status=302, headers={"Location": location})
    error = bench.error()
    assert (error.code, why in error.message) == ("model.unavailable", True)


def test_unknown_models_and_licences_are_told_first(bench):
    bench.add("net")
    bench.add("closed", licence="closed")
    assert bench.error("net", "nett").code == "model.unknown"
    error = bench.error("net", "closed")
    assert (error.code, error.exit_code) == ("model.licence", 2)
    assert bench.error("net", "closed", commercial=True, accepted_licences=("closed",)).code == "model.licence"
    assert bench.server.seen == []
    bench.pull("closed", accepted_licences=("closed",))


def test_offline_asks_nobody(bench):
    bench.add("net")
    error = bench.error(offline=True)
    assert (error.code, error.retryable) == ("model.offline", False)
    assert "faceflow models import FILE --as net" in error.resolution
    assert bench.server.seen == []


def test_offline_with_a_mirror_folder(bench, tmp_path):
    bench.add("net")
    (tmp_path / "mirror" / "net").mkdir(parents=True)
    error = bench.error(offline=True, mirror=str(tmp_path / "mirror"))
    assert error.code == "model.offline"
    assert "it does not exist" in error.message
    (tmp_path / "mirror" / "net" / "net.onnx").write_bytes(CONTENT)
    bench.pull(offline=True, mirror=str(tmp_path / "mirror"))
    assert bench.path().read_bytes() == CONTENT
    assert bench.server.seen == []


def test_no_source_at_all(bench):
    bench.add("net", sources=[])
    assert bench.error().code == "model.no_source"


def test_no_room_is_told_first(bench, monkeypatch):
    bench.add("net")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 1_000_000 + len(CONTENT) - 1))
    error = bench.error()
    assert (error.code, error.fields["needed_bytes"]) == ("fault.disk_full", len(CONTENT))
    assert bench.server.seen == []


def test_no_room_is_told_where_only_the_source_knows_the_size(bench, monkeypatch):
    bench.add("net", facts=UNKNOWN)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 1_000_000 + len(CONTENT) - 1))
    assert bench.error().code == "fault.disk_full"
    assert "net.onnx" not in bench.files()


def test_a_folder_that_cannot_be_made(bench, tmp_path):
    bench.add("net")
    (tmp_path / "cache").write_text("a file")
    assert bench.error().code == "output.folder_missing"


def test_a_complete_folder_needs_no_writing(bench, monkeypatch):
    bench.add("net")
    bench.pull()

    def refuse(*_):
        raise AssertionError("a read-only folder has no place for locks")

    monkeypatch.setattr(fetcher, "file_lock", refuse)
    assert bench.pull().present == ["net"]


def test_states_of_the_cache(bench):
    bench.add("net")
    entry = bench.known.find("net")
    cache = ModelCache(bench.tmp_path / "cache")
    assert cache.state(entry) is CacheState.MISSING
    bench.pull()
    assert cache.state(entry) is CacheState.VERIFIED
    bench.path().write_bytes(CONTENT[:-1])
    assert cache.state(entry) is CacheState.DAMAGED


def test_pauses_grow_and_stay_bounded():
    longest = [min(download.FIRST_PAUSE_S * 2**number, download.LONGEST_PAUSE_S) for number in range(30)]
    assert longest == sorted(longest)
    assert longest[-1] == 30.0


def test_the_error_of_one_is_raised_as_it_is(bench):
    bench.add("net").status = 404
    with pytest.raises(FaceflowError) as caught:
        bench.pull()
    assert "models failed" not in caught.value.message
