"""A pull brings the right file or a clear error, and never leaves a bad file under a good name."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections import namedtuple

import pytest
import structlog.testing

from faceflow.errors import CancelledError, DownloadError, FaceflowError
from faceflow.vision.model_cache import CacheState, ModelCache
from infrastructure.models import download, fetcher
from tests.models.conftest import CONTENT, OTHER, onnx_bytes, packed, sha256
from tests.models.server import Behaviour, serving

UNKNOWN = ""


class Watcher:
    """Remembers what it is told."""

    def __init__(self, at=None, then=None):
        self.told = []
        self.at, self.then = at, then

    def moved(self, name, done_bytes, size_bytes):
        self.told.append((name, done_bytes, size_bytes))
        if self.at is not None and done_bytes >= self.at:
            self.then()

    def waiting(self, name):
        self.told.append((name, "waiting"))

    def finished(self, name):
        self.told.append((name, "finished"))


def interrupted(bench, at, name="net", **models):
    """A pull that ends in the middle. Returns the bytes that are here."""
    stop = threading.Event()
    with pytest.raises(CancelledError):
        bench.pull(name, watcher=Watcher(at, stop.set), stop=stop, **models)
    assert not bench.path(name).exists()
    return bench.path(name).with_name(f".{name}.onnx.part").stat().st_size


# --- it works --------------------------------------------------------------------------------------------------------


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
    ("location", "why"), [("/net.onnx", "sends on more than"), ("ftp://127.0.0.1/net.onnx", "unsafe address (ftp)")]
)
def test_redirects_end(bench, location, why):
    bench.add("net")
    bench.server.files["/net.onnx"] = Behaviour(status=302, headers={"Location": location})
    error = bench.error()
    assert (error.code, why in error.message) == ("model.unavailable", True)


# --- it goes on where it was -----------------------------------------------------------------------------------------


def test_a_broken_pull_goes_on(bench):
    bench.add("net").pause_s = 0.01
    here = interrupted(bench, 60_000)
    assert 0 < here < len(CONTENT)
    bench.pull()
    second = bench.server.gets("/net.onnx")[1]
    assert second.range == f"bytes={here}-"
    assert second.headers["if-range"].startswith('"')
    assert bench.path().read_bytes() == CONTENT
    assert bench.files() == {"net.onnx", "net.onnx.record"}


def test_cut_connections_are_gone_on_with(bench):
    bench.add("net").cut_after = [70_000, 0, 70_000]
    bench.pull(attempts=2)
    ranges = [one.range for one in bench.server.gets("/net.onnx")]
    assert ranges[0] == ""
    assert [one != "" for one in ranges[1:]] == [True] * (len(ranges) - 1)
    assert bench.path().read_bytes() == CONTENT


def test_an_end_that_nobody_told_is_seen_by_the_size(bench):
    how = bench.add("net")
    how.sizeless, how.cut_after = True, [70_000]
    bench.pull()
    assert bench.server.gets("/net.onnx")[1].range != ""
    assert bench.path().read_bytes() == CONTENT


def test_nothing_of_a_longer_file_stays(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s = 0.01
    interrupted(bench, 100_000)
    how.content = onnx_bytes(50_000, 3)
    bench.pull()
    assert bench.path().read_bytes() == how.content


def test_a_server_without_ranges_gives_all_again(bench):
    how = bench.add("net")
    how.ranges, how.cut_after = False, [70_000]
    bench.pull()
    assert bench.path().read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_comes_whole(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s = 0.01
    interrupted(bench, 60_000)
    how.content = OTHER
    bench.pull()
    assert bench.path().read_bytes() == OTHER


def test_a_file_that_changed_is_seen_though_the_server_does_not_look(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s, how.deaf = 0.01, True
    interrupted(bench, 60_000)
    how.content = OTHER
    bench.pull()
    assert bench.path().read_bytes() == OTHER


def test_without_validator_and_hash_it_begins_anew(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s, how.tag = 0.01, ""
    interrupted(bench, 60_000)
    how.content = OTHER
    bench.pull()
    assert bench.server.gets("/net.onnx")[-1].range == ""
    assert bench.path().read_bytes() == OTHER


def test_bytes_of_another_source_may_stand_where_the_hash_is_known(bench):
    bench.add("net").pause_s = 0.01
    bench.add("twin")
    here = interrupted(bench, 60_000)
    bench.server.files["/net.onnx"].status = 404
    bench.text = bench.text.replace('/net.onnx"]', f'/net.onnx", "{bench.server.url}/twin.onnx"]')
    bench.pull()
    assert bench.server.gets("/twin.onnx")[0].range == f"bytes={here}-"
    assert bench.path().read_bytes() == CONTENT


def test_wrong_bytes_of_before_are_fetched_again(bench):
    bench.add("net").pause_s = 0.01
    here = interrupted(bench, 60_000)
    part = bench.path().with_name(".net.onnx.part")
    part.write_bytes(bytes(here))
    bench.pull()
    assert [one.range for one in bench.server.gets("/net.onnx")] == ["", f"bytes={here}-", ""]
    assert bench.path().read_bytes() == CONTENT


def test_more_bytes_than_the_file_has_are_dropped(bench):
    bench.add("net").pause_s = 0.01
    interrupted(bench, 60_000)
    bench.path().with_name(".net.onnx.part").write_bytes(bytes(len(CONTENT) + 5))
    bench.pull()
    assert bench.path().read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(bench):
    bench.add("net").pause_s = 0.01
    interrupted(bench, 60_000)
    bench.path().with_name(".net.onnx.part").write_bytes(CONTENT)
    bench.pull()
    assert bench.path().read_bytes() == CONTENT
    assert [one.range for one in bench.server.gets("/net.onnx")] == ["", f"bytes={len(CONTENT)}-"]


def test_a_part_whose_note_is_lost_is_not_trusted(bench):
    bench.add("net").pause_s = 0.01
    interrupted(bench, 60_000)
    bench.path().with_name(".net.onnx.part.json").unlink()
    bench.pull()
    assert bench.server.gets("/net.onnx")[-1].range == ""


# --- sources fail ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_busy_server_is_asked_again(bench, status):
    bench.add("net").refuse = [status, status]
    bench.pull()
    assert len(bench.server.seen) == 3


def test_a_server_says_when_to_come_back(bench):
    how = bench.add("net")
    how.refuse, how.headers = [503], {"Retry-After": "1"}
    begun = time.monotonic()
    bench.pull()
    assert time.monotonic() - begun >= 1


def test_a_busy_server_is_given_up(bench):
    bench.add("net").status = 503
    error = bench.error(attempts=3)
    assert isinstance(error, DownloadError)
    assert (error.code, error.retryable) == ("model.unreachable", True)
    assert "HTTP 503" in error.message
    assert len(bench.server.seen) == 3
    assert "net.onnx" not in bench.files()


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "asks for a sign-in"), (403, "refuses access"), (404, "not there"), (410, "any more"), (400, "HTTP 400")],
)
def test_a_plain_no_is_not_asked_again(bench, status, why):
    bench.add("net").status = status
    error = bench.error()
    assert (error.code, error.retryable) == ("model.unavailable", False)
    assert why in error.message
    assert len(bench.server.seen) == 1


def test_the_next_source_is_asked(bench):
    bench.add("net", sources=[f"{bench.server.url}/gone.onnx", f"{bench.server.url}/net.onnx"])
    bench.pull()
    assert [one.path for one in bench.server.seen] == ["/gone.onnx", "/net.onnx"]


def test_nobody_listens(bench):
    bench.add("net", sources=["http://127.0.0.1:9/net.onnx"])
    error = bench.error(attempts=2)
    assert error.code == "model.unreachable"
    assert "cannot be reached" in error.message


def test_a_silent_server(bench):
    bench.add("net").hang_s = 5
    begun = time.monotonic()
    error = bench.error(attempts=2, silence_s=0.3)
    assert error.code == "model.unreachable"
    assert "in time" in error.message
    assert time.monotonic() - begun < 4


def test_a_server_that_speaks_no_tls(bench):
    bench.add("net", sources=[bench.server.url.replace("http:", "https:") + "/net.onnx"])
    error = bench.error(attempts=1)
    assert error.code == "model.unavailable"
    assert "secure connection" in error.message


# --- the wrong thing comes -------------------------------------------------------------------------------------------


def test_a_wrong_file_never_gets_the_name(bench):
    bench.add("net").content = OTHER
    error = bench.error()
    assert (error.code, error.retryable) == ("model.hash", False)
    assert error.fields["expected"] == sha256(CONTENT)
    assert error.fields["found"] == sha256(OTHER)
    assert bench.files() == set()


def test_after_a_wrong_file_the_next_source_is_asked(bench):
    bench.add("bad").content = OTHER
    bench.add("net", sources=[f"{bench.server.url}/bad.onnx", f"{bench.server.url}/net.onnx"])
    bench.pull("net")
    assert bench.path().read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1000], CONTENT + b"1"])
def test_a_file_of_another_size_is_not_even_fetched(bench, content):
    bench.add("net").content = content
    error = bench.error()
    assert error.code == "model.unavailable"
    assert f"has {len(content)} bytes and not {len(CONTENT)}" in error.message
    assert "net.onnx" not in bench.files()


def test_a_download_that_always_ends_early(bench):
    bench.add("net").cut_after = [50_000] + [0] * 20
    error = bench.error(attempts=3)
    assert error.code == "model.unreachable"
    assert "net.onnx" not in bench.files()


def test_a_file_that_does_not_end(bench):
    how = bench.add("net")
    how.content, how.sizeless = CONTENT * 3, True
    error = bench.error()
    assert error.code == "model.unavailable"
    assert "more than the whole file" in error.message
    assert "net.onnx" not in bench.files()


def test_a_web_page_is_no_model(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.content, how.headers = b"<html>sign in</html>" * 100, {"Content-Type": "text/html; charset=utf-8"}
    error = bench.error()
    assert error.code == "model.unavailable"
    assert "web page" in error.message


def test_without_a_hash_something_else_is_seen_by_its_outline(bench):
    bench.add("net", facts=UNKNOWN).content = b"version https://git-lfs.github.com/spec/v1\n" * 100
    error = bench.error()
    assert error.code == "model.not_onnx"
    assert bench.files() == set()


def test_the_first_hash_is_recorded_and_holds(bench):
    how = bench.add("net", facts=UNKNOWN)
    bench.pull()
    record = ModelCache(bench.tmp_path / "cache").record(bench.path())
    assert (record.sha256, record.first_use) == (sha256(CONTENT), True)
    bench.path().unlink()
    how.content = OTHER
    assert bench.error().code == "model.hash"
    how.content = CONTENT
    bench.pull()
    assert bench.path().read_bytes() == CONTENT


def test_a_bad_file_in_the_folder_is_replaced(bench):
    bench.add("net")
    bench.pull()
    bench.path().write_bytes(OTHER)
    assert bench.pull().pulled == ["net"]
    assert bench.path().read_bytes() == CONTENT


def test_a_bad_file_does_not_stay_where_no_source_helps(bench):
    bench.add("net")
    bench.pull()
    bench.path().write_bytes(OTHER)
    bench.server.files.clear()
    bench.error()
    assert not bench.path().exists()


def test_one_failure_does_not_keep_the_others(bench):
    bench.add("net")
    bench.add("gone").status = 404
    bench.add("lost").status = 404
    error = bench.error("gone", "net", "lost")
    assert bench.path().read_bytes() == CONTENT
    assert error.fields["failed"] == ["gone", "lost"]
    assert "2 models failed: gone, lost" in error.message


# --- before anything is asked ----------------------------------------------------------------------------------------


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
    assert "it is not there" in error.message
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


# --- mirrors ---------------------------------------------------------------------------------------------------------


def test_the_mirror_comes_first_and_its_token_stays_secret(bench):
    bench.add("net")
    bench.server.files["/models/net/net.onnx"] = Behaviour(CONTENT)
    mirror = bench.server.url.replace("http://", "http://me:pass-word@") + "/models?sig=top-secret"
    with structlog.testing.capture_logs() as logs:
        bench.pull(mirror=mirror)
    (seen,) = bench.server.seen
    assert seen.path == "/models/net/net.onnx?sig=top-secret"
    assert seen.headers["authorization"].startswith("Basic ")
    bench.path().unlink()
    bench.server.files.clear()
    with structlog.testing.capture_logs() as more:
        error = bench.error(mirror=mirror)
    said = str(error) + str(error.fields) + str(logs) + str(more)
    for path in (bench.tmp_path / "cache").rglob("*"):
        said += path.read_text(errors="ignore") if path.is_file() else ""
    assert "top-secret" not in said
    assert "pass-word" not in said


def test_where_the_mirror_has_it_not_the_public_source_is_asked(bench):
    bench.add("net")
    bench.pull(mirror=bench.server.url + "/mirror/")
    assert [one.path for one in bench.server.seen] == ["/mirror/net/net.onnx", "/net.onnx"]


@pytest.mark.parametrize("mirror", ["ftp://host/path", "http:///path", "s3://"])
def test_a_wrong_mirror(bench, mirror):
    bench.add("net")
    assert bench.error(mirror=mirror).code == "model.mirror_invalid"


def test_a_models_folder_is_a_mirror(bench, tmp_path):
    bench.add("net")
    bench.pull()
    (tmp_path / "cache").rename(tmp_path / "mirror")
    bench.pull(offline=True, mirror=(tmp_path / "mirror").as_uri())
    assert bench.path().read_bytes() == CONTENT


# --- S3 --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(bench, monkeypatch):
    """The bucket `models` at the server, which speaks enough S3 for reading."""
    monkeypatch.setenv("AWS_ENDPOINT", bench.server.url)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-ours")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-ours")
    how = bench.server.files["/models/v1/net/net.onnx"] = Behaviour(CONTENT)
    return how


def test_a_bucket_is_a_mirror(bench, bucket, monkeypatch):
    monkeypatch.setattr("infrastructure.models.bucket_source.SLICE_BYTES", 80_000)
    bench.add("net")
    bench.pull(mirror="s3://models/v1")
    assert bench.path().read_bytes() == CONTENT
    assert [one.range for one in bench.server.gets("/models/v1/net/net.onnx")] == [
        "bytes=0-79999",
        "bytes=80000-159999",
        "bytes=160000-199999",
    ]
    assert "key-of-ours" in bench.server.seen[0].headers["authorization"]
    assert ModelCache(bench.tmp_path / "cache").record(bench.path()).source == "s3://models/v1/net/net.onnx"


def test_a_bucket_is_gone_on_with(bench, bucket, monkeypatch):
    monkeypatch.setattr("infrastructure.models.bucket_source.SLICE_BYTES", 50_000)
    bench.add("net")
    here = interrupted(bench, 100_000, mirror="s3://models/v1")
    bench.pull(mirror="s3://models/v1")
    assert here == 100_000
    assert bench.server.gets("/models/v1/net/net.onnx")[-2].range == "bytes=100000-149999"
    assert bench.path().read_bytes() == CONTENT


def test_an_object_that_changes_is_begun_anew(bench, bucket, monkeypatch):
    monkeypatch.setattr("infrastructure.models.bucket_source.SLICE_BYTES", 50_000)
    bench.add("net", facts=UNKNOWN, sources=[])
    interrupted(bench, 100_000, mirror="s3://models/v1")
    bucket.content = OTHER
    bench.pull(mirror="s3://models/v1")
    assert bench.path().read_bytes() == OTHER


def test_an_object_that_changes_while_it_is_read_is_begun_anew(bench, bucket, monkeypatch):
    monkeypatch.setattr("infrastructure.models.bucket_source.SLICE_BYTES", 50_000)
    bench.add("net", facts=UNKNOWN, sources=[])
    bench.pull(mirror="s3://models/v1", watcher=Watcher(100_000, lambda: setattr(bucket, "content", OTHER)))
    assert bench.path().read_bytes() == OTHER


@pytest.mark.parametrize(
    ("status", "why", "code"),
    [
        (404, "not there", "model.unavailable"),
        (403, "refuses access", "model.unavailable"),
        (500, "did not answer", "model.unreachable"),
    ],
)
def test_a_bucket_that_refuses(bench, bucket, status, why, code):
    bench.add("net", sources=[])
    bucket.status = status
    error = bench.error(mirror="s3://models/v1", attempts=2)
    assert (error.code, why in error.message) == (code, True)
    assert "secret-of-ours" not in str(error) + str(error.fields)


# --- archives --------------------------------------------------------------------------------------------------------


def test_an_archive_is_fetched_once_for_all_its_models(bench, pack):
    report = bench.pull("both")
    assert (sorted(report.pulled), bench.path("one").read_bytes(), bench.path("two").read_bytes()) == (
        ["one", "two"],
        CONTENT,
        OTHER,
    )
    assert len(bench.server.gets("/pack.zip")) == 1
    assert not (bench.tmp_path / "cache" / ".archives" / "pack.zip").exists()
    assert sorted(bench.pull("both").present) == ["one", "two"]
    record = ModelCache(bench.tmp_path / "cache").record(bench.path("two"))
    assert record.source == f"{bench.server.url}/pack.zip#two.onnx"


def test_one_model_brings_the_rest_of_its_archive(bench, pack):
    assert bench.pull("one").pulled == ["one"]
    assert bench.pull("two").present == ["two"]
    assert len(bench.server.gets("/pack.zip")) == 1


def test_a_mirror_may_have_the_models_by_themselves(bench, pack, tmp_path):
    (tmp_path / "mirror" / "one").mkdir(parents=True)
    (tmp_path / "mirror" / "one" / "one.onnx").write_bytes(CONTENT)
    bench.pull("one", mirror=str(tmp_path / "mirror"))
    assert bench.server.seen == []
    bench.pull("both", mirror=str(tmp_path / "mirror"))
    assert len(bench.server.gets("/pack.zip")) == 1


def test_a_wrong_archive_brings_nothing(bench, pack):
    pack.content = packed({"one.onnx": CONTENT, "two.onnx": OTHER})
    error = bench.error("both")
    assert error.code == "model.unavailable"
    assert error.fields["failed"] == ["one", "two"]
    assert not bench.path("one").exists()


def test_a_member_that_is_missing_or_wrong(bench, pack):
    pack.content = packed({"one.onnx": CONTENT, "two.onnx": CONTENT})
    bench.text = bench.text.replace("size_bytes = ", "# ", 1).replace("\nsha256 = ", "\n# ", 1)
    error = bench.error("both")
    assert (error.code, bench.path("one").exists(), bench.path("two").exists()) == ("model.hash", True, False)
    pack.content = packed({"one.onnx": CONTENT})
    error = bench.error("both")
    assert (error.code, "does not hold it" in error.message) == ("model.unavailable", True)


def test_an_archive_that_is_none(bench, pack):
    pack.content = b"PK\x03\x04 not really"
    bench.text = bench.text.replace("size_bytes = ", "# ", 1).replace("\nsha256 = ", "\n# ", 1)
    error = bench.error("one")
    assert (error.code, "cannot be unpacked" in error.message) == ("model.unavailable", True)


# --- states ----------------------------------------------------------------------------------------------------------


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


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(bench, tmp_path):
    """The server behind TLS, with a certificate that nobody trusts but whoever reads its file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    with serving(key=key, certificate=certificate) as running:
        running.files["/net.onnx"] = Behaviour(CONTENT)
        bench.add("net", sources=[f"{running.url}/net.onnx"])
        yield running, certificate


def test_an_untrusted_certificate_is_explained(bench, secure):
    error = bench.error()
    assert error.code == "model.unavailable"
    assert "certificate is not trusted" in error.message
    assert "SSL_CERT_FILE" in error.message


def test_a_certificate_of_ones_own(bench, secure, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(secure[1]))
    bench.pull()
    assert bench.path().read_bytes() == CONTENT


def test_no_step_down_from_https(bench, secure, monkeypatch):
    running, certificate = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    running.files["/net.onnx"] = Behaviour(status=302, headers={"Location": f"{bench.server.url}/net.onnx"})
    assert "unsafe address (http)" in bench.error().message
    assert bench.server.seen == []
