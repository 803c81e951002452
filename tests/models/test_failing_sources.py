"""Sources that are busy, silent, gone or not trusted: asked again, or the next one, or a clear error."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from faceflow.infrastructure.models.download import DownloadError
from tests.models.conftest import CONTENT
from tests.models.server import Behaviour, serving


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
    [
        (401, "requires a login"),
        (403, "denies access"),
        (404, "not there"),
        (410, "no longer there"),
        (400, "HTTP 400"),
    ],
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


@pytest.fixture
def secure(bench, tmp_path):
    """The server behind TLS, with a certificate that nobody trusts but whoever reads its file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (Debian: apt-get install openssl)")
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
