"""Mirrors: a folder, a server, a bucket; asked first, and never told on."""

from __future__ import annotations

import pytest
import structlog.testing

from faceflow.vision.model_cache import ModelCache
from tests.models.conftest import CONTENT, OTHER
from tests.models.interrupting import Watcher, interrupted
from tests.models.server import Behaviour

UNKNOWN = ""


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
    monkeypatch.setattr("faceflow.infrastructure.models.bucket_source.SLICE_BYTES", 80_000)
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
    monkeypatch.setattr("faceflow.infrastructure.models.bucket_source.SLICE_BYTES", 50_000)
    bench.add("net")
    here = interrupted(bench, 100_000, mirror="s3://models/v1")
    bench.pull(mirror="s3://models/v1")
    assert here == 100_000
    assert bench.server.gets("/models/v1/net/net.onnx")[-2].range == "bytes=100000-149999"
    assert bench.path().read_bytes() == CONTENT


def test_an_object_that_changes_is_begun_anew(bench, bucket, monkeypatch):
    monkeypatch.setattr("faceflow.infrastructure.models.bucket_source.SLICE_BYTES", 50_000)
    bench.add("net", facts=UNKNOWN, sources=[])
    interrupted(bench, 100_000, mirror="s3://models/v1")
    bucket.content = OTHER
    bench.pull(mirror="s3://models/v1")
    assert bench.path().read_bytes() == OTHER


def test_an_object_that_changes_while_it_is_read_is_begun_anew(bench, bucket, monkeypatch):
    monkeypatch.setattr("faceflow.infrastructure.models.bucket_source.SLICE_BYTES", 50_000)
    bench.add("net", facts=UNKNOWN, sources=[])
    bench.pull(mirror="s3://models/v1", watcher=Watcher(100_000, lambda: setattr(bucket, "content", OTHER)))
    assert bench.path().read_bytes() == OTHER


@pytest.mark.parametrize(
    ("status", "why", "code"),
    [
        (404, "does not exist", "model.unavailable"),
        (403, "denies access", "model.unavailable"),
        (500, "an unexpected answer", "model.unreachable"),
    ],
)
def test_a_bucket_that_refuses(bench, bucket, status, why, code):
    bench.add("net", sources=[])
    bucket.status = status
    error = bench.error(mirror="s3://models/v1", attempts=2)
    assert (error.code, why in error.message) == (code, True)
    assert "secret-of-ours" not in str(error) + str(error.fields)
