"""Proxies: loopback never goes through one, what lies beyond does, and a value that nobody can read ends nothing."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from faceflow.errors import FaceflowError
from faceflow.infrastructure.machine.server.inherited import inherited
from faceflow.infrastructure.proxies import UNUSABLE, ordered_proxies, require_usable_proxy, unusable_proxy

PROXY = "http://127.0.0.1:9"
LOCAL = ["http://127.0.0.1:4200/api", "http://localhost:4200/api", "http://[::1]:4200/api", "http://0.0.0.0:4200/api"]
GOOD = [PROXY, "127.0.0.1:9", "http://user:secret@127.0.0.1:9", "https://127.0.0.1:9", "socks5://127.0.0.1:9",
        "socks5h://127.0.0.1:9", "SOCKS5://127.0.0.1:9", "HTTP://127.0.0.1:9", f" {PROXY} "]  # fmt: skip
BAD = ["socks4://127.0.0.1:9", "socks://127.0.0.1:9", "ftp://proxy", "://", "http://", "http://127.0.0.1:port",
       "http://[::1", "http://a b:9", "http://127.0.0.1:99999", "http://x:1\x7f", "garbage://"]  # fmt: skip
BYPASSES = ["", "*", "corp.example", ".corp.example", "*.corp.example", "10.0.0.0/8", "::1/128", "[::1]", "fe80::/10",
            "ü.example", "host:8080", "host:port", "\x7f", "http://[", "a, *, b", "127.0.0.1", ",,"]  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    import os

    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name == UNUSABLE]:
        monkeypatch.delenv(name)
    return monkeypatch


def use(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> dict[str, str]:
    ordered = ordered_proxies(variables)
    for name, value in ordered.items():
        environment.setenv(name, value)
    return ordered


def is_direct(client: httpx.Client, url: str) -> bool:
    return client._transport_for_url(httpx.URL(url)) is client._transport


@pytest.mark.parametrize("value", GOOD + BAD)
@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "Ws_Proxy", "socks_proxy"])
def test_loopback_is_asked_directly_whatever_the_proxy(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    use(environment, {name: value})
    with httpx.Client(verify=False) as client:
        for url in LOCAL:
            assert is_direct(client, url), url
            assert get_proxy(parse_uri(url.replace("http", "ws", 1))) is None
            assert urllib.request.proxy_bypass(httpx.URL(url).host)


@pytest.mark.parametrize("value", BYPASSES)
def test_what_the_user_leaves_out_stays_left_out(environment: pytest.MonkeyPatch, value: str) -> None:
    for names in itertools.product(["no_proxy", "NO_PROXY"], ["http_proxy", "ALL_PROXY"]):
        ordered = use(environment, dict(zip(names, [value, PROXY], strict=True)))
        assert ordered["no_proxy"] == ordered["NO_PROXY"]
        with httpx.Client(verify=False) as client:
            assert all(is_direct(client, url) for url in LOCAL)
            assert is_direct(client, "http://elsewhere.example") is ("*" in value.replace(" ", "").split(","))
            if "corp.example" in value:
                assert is_direct(client, "http://www.corp.example")


@pytest.mark.parametrize("value", GOOD)
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("http_proxy", "http://elsewhere.example"),
        ("HTTPS_PROXY", "https://elsewhere.example"),
        ("all_proxy", "https://elsewhere.example"),
    ],
)
def test_what_lies_beyond_goes_through_the_proxy(
    environment: pytest.MonkeyPatch, name: str, url: str, value: str
) -> None:
    use(environment, {name: value})
    with httpx.Client(verify=False) as client:
        assert not is_direct(client, url)
    require_usable_proxy(url)


@pytest.mark.parametrize("value", BAD)
def test_a_download_is_refused_where_its_proxy_cannot_be_used(environment: pytest.MonkeyPatch, value: str) -> None:
    secret = value.replace("//127", "//user:secret@127")
    ordered = use(environment, {"ALL_PROXY": secret})
    assert "all_proxy" not in ordered
    assert "secret" not in json.dumps(ordered)
    with pytest.raises(FaceflowError) as caught:
        require_usable_proxy("https://elsewhere.example/file")
    assert caught.value.code == "fault.proxy_unusable"
    assert "ALL_PROXY" in caught.value.message
    require_usable_proxy("http://127.0.0.1:9000/bucket")
    # Child processes remember it, and a proxy of the scheme's own takes its place.
    assert UNUSABLE in inherited(ordered)
    assert unusable_proxy("https://elsewhere.example", ordered_proxies({**ordered, "https_proxy": PROXY})) is None
    assert unusable_proxy("https://elsewhere.example", ordered_proxies({**ordered, "no_proxy": "*"})) is None


def test_small_letters_win_as_everywhere() -> None:
    ordered = ordered_proxies({"HTTP_PROXY": "http://capitals:1", "http_proxy": "http://small:1"})
    assert ordered["http_proxy"] == ordered["HTTP_PROXY"] == "http://small:1"
    assert "http_proxy" not in ordered_proxies({"HTTP_PROXY": "http://capitals:1", "http_proxy": ""})


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers everything itself; its address, and what it was asked for."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_real_proxy_hears_of_downloads_alone(environment: pytest.MonkeyPatch, proxy: tuple[str, list[str]]) -> None:
    address, asked = proxy
    use(environment, {"http_proxy": address})
    assert httpx.get("http://elsewhere.example/file").text == "true"
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://localhost:9/api/health")
    assert asked == ["http://elsewhere.example/file"]
