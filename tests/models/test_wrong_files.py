"""Whatever a source sends, a bad file never gets a good name."""

from __future__ import annotations

import pytest

from faceflow.vision.model_cache import ModelCache
from tests.models.conftest import CONTENT, OTHER, sha256

UNKNOWN = ""


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
    assert f"has {len(content)} bytes instead of {len(CONTENT)}" in error.message
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
