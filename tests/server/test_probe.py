"""Who answers where PREFECT_API_URL says: a Prefect server, or what else; each in words, none with a stack."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from faceflow.infrastructure.machine.server.lease import lease_server
from faceflow.infrastructure.machine.server.probe import Answer, Probed, probe
from faceflow.infrastructure.machine.server.server_errors import ServerError
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.conftest import Program
from tests.servers import free_port

Handler = BaseHTTPRequestHandler


@contextmanager
def answering(answer: Callable[[Handler], None]) -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def says(status: int, body: bytes = b"true", **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def never_ends(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"[")


def no_http(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")


def asked(api_url: str, timeout_s: float = 10.0, **environment: str) -> Probed:
    return probe(api_url, timeout_s, environment)


@pytest.mark.parametrize(
    ("answer", "found", "words"),
    [
        (says(200), Answer.PREFECT, ""),
        (says(200, b"<html>It works!</html>"), Answer.OTHER, "page"),
        (says(200, b""), Answer.OTHER, "not a Prefect"),
        (says(200, b'{"status": "ok"}'), Answer.OTHER, "not a Prefect"),
        (says(200, b"\xff\xfe\x00"), Answer.OTHER, "not a Prefect"),
        (says(204, b""), Answer.OTHER, "204"),
        (says(302, b"", Location="https://login.example/"), Answer.OTHER, "login.example"),
        (says(401, b""), Answer.REFUSED, "401"),
        (says(403, b""), Answer.REFUSED, "403"),
        (says(404, b""), Answer.OTHER, "404"),
        (says(500, b"<html>"), Answer.OTHER, "500"),
        (says(200, b"tr", Content_Length="100"), Answer.SILENT, "breaks off"),
        (says(200, b"true", Content_Encoding="gzip"), Answer.SILENT, "breaks off"),
        (never_ends, Answer.OTHER, "not a Prefect"),
        (no_http, Answer.SILENT, "breaks off"),
    ],
)
def test_every_answer_is_told(answer: Callable[[Handler], None], found: Answer, words: str) -> None:
    with answering(answer) as api_url:
        probed = asked(api_url)
    assert probed.answer is found, probed
    assert words in probed.words


def test_silence_and_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        probed = asked(f"http://127.0.0.1:{silent.getsockname()[1]}/api", timeout_s=0.2)
    assert probed == Probed(Answer.SILENT, "it does not respond in time")
    assert asked(f"http://127.0.0.1:{free_port()}/api") == Probed(Answer.SILENT, "nothing responds at that address")


@pytest.mark.parametrize(
    "address", ["x", "localhost:4200/api", "ftp://h/api", "http://", "http://[::1/api", "http://h:x/api", "http://\x7f"]
)
def test_an_address_that_is_none(address: str) -> None:
    assert asked(address).answer is Answer.UNUSABLE


def test_signing_in_is_as_the_user_says() -> None:
    wanted = f"Basic {base64.b64encode(b'me:secret').decode()}"

    def answer(handler: Handler) -> None:
        signed_in = handler.path.endswith("/health") or handler.headers.get("Authorization") == wanted
        says(200 if signed_in else 401)(handler)

    with answering(answer) as api_url:
        assert asked(api_url).answer is Answer.REFUSED
        assert asked(api_url, PREFECT_API_AUTH_STRING="other:one").answer is Answer.REFUSED
        assert asked(api_url, PREFECT_API_AUTH_STRING="me:secret").answer is Answer.PREFECT
        assert asked(f"{api_url}/", PREFECT_API_AUTH_STRING="me:secret").answer is Answer.PREFECT
        headers = f'{{"Authorization": "{wanted}"}}'
        assert asked(api_url, PREFECT_CLIENT_CUSTOM_HEADERS=headers).answer is Answer.PREFECT
        for bad in ("garbage", "[]", '{"a": 1}'):
            assert asked(api_url, PREFECT_CLIENT_CUSTOM_HEADERS=bad).answer is Answer.UNUSABLE
        assert asked(api_url, PREFECT_API_KEY="ключ").answer is Answer.UNUSABLE
        assert asked(api_url, PREFECT_API_SSL_CERT_FILE="/none.pem").answer is Answer.UNUSABLE


@pytest.mark.parametrize(
    ("answer", "code"),
    [(says(200, b"<html>"), "server.not_prefect"), (says(401, b""), "server.refused")],
)
def test_a_named_address_that_is_no_use_is_an_error_with_a_way_out(
    answer: Callable[[Handler], None], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(paths=PathSettings(state=tmp_path, scratch=tmp_path))
    with answering(answer) as api_url:
        monkeypatch.setenv("PREFECT_API_URL", api_url.replace("//", "//me:secret@"))
        with pytest.raises(ServerError) as caught, lease_server(settings):
            pass
    assert caught.value.code == code
    assert "PREFECT_API_URL" in caught.value.resolution
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("PREFECT_API_URL", "nonsense")
    with pytest.raises(ServerError) as caught, lease_server(settings, patience_s=600):
        pass
    assert caught.value.code == "server.address_invalid"


def test_doctor_says_who_answers(offline_program: Program) -> None:
    with answering(says(200, b"<html>")) as api_url:
        done = offline_program("doctor", "--alive", "--json", PREFECT_API_URL=api_url)
    assert done.exit_code == 1
    [found] = [one for one in done.answer["findings"] if one["what"] == "Prefect server"]
    assert "not a Prefect server" in found["found"]
    assert "PREFECT_API_URL" in found["resolution"]
