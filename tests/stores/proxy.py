"""A proxy between a store and its service, on 127.0.0.1, that breaks things as told.

It also lets an S3 service pass for Google Cloud Storage, whose XML interface is the same but for the names of headers.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

SLOW_S = 4.0
SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>less, please</Message></Error>'
_SIGNED = "AWS4-HMAC-SHA256 Credential=stand-in/20270101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "expect"}


@dataclass
class Fault:
    """What happens to requests whose `METHOD path?query` matches.

    Attributes:
        pattern: regular expression.
        action: `status`, `cut_request` (half of the body is read and the connection dropped), `cut_response` (half of
            the answer is sent), `lose_answer` (the service does it, nobody hears of it), `hang` (until released),
            `slow` (each answer comes `SLOW_S` later).
        times: how many requests; more pass unharmed.
        after: matching requests that pass before.
        body: of `status`.
    """

    pattern: str
    action: str
    times: int = 1
    after: int = 0
    status: int = 503
    body: bytes = SLOW_DOWN
    seen: int = 0


@dataclass
class Proxy:
    """A running proxy. `requests` lists what came through: `METHOD path?query`."""

    url: str
    upstream: str
    google: bool = False
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, pattern: str) -> int:
        """How many requests matched."""
        return sum(bool(re.search(pattern, request)) for request in self.requests)

    def fault_for(self, request: str, headers: dict[str, str]) -> Fault | None:
        with self.lock:
            self.requests.append(request)
            self.headers.append(headers)
            for fault in self.faults:
                if re.search(fault.pattern, request):
                    fault.seen += 1
                    if fault.after < fault.seen <= fault.after + fault.times:
                        return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def _pass(self) -> None:
        proxy = self.proxy
        fault = proxy.fault_for(f"{self.command} {self.path}", dict(self.headers.items()))
        action = "" if fault is None else fault.action
        length = int(self.headers.get("Content-Length") or 0)
        if action == "cut_request":
            self.rfile.read(length // 2)
            self._drop()
            return
        body = self._chunked() if "chunked" in self.headers.get("Transfer-Encoding", "") else self.rfile.read(length)
        if action == "hang":
            proxy.hanging.set()
            proxy.release.wait(60)
            self._drop()  # it never reaches the service
            return
        if action == "status" and fault is not None:
            self._answer(fault.status, [("Content-Type", "application/xml")], fault.body)
            return
        if action == "slow":
            proxy.release.wait(SLOW_S)
        status, headers, answer = self._forward(body)
        if action == "lose_answer":
            self._drop()
            return
        self._answer(status, headers, answer, half=action == "cut_response")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        google = self.proxy.google
        upstream = urlsplit(self.proxy.upstream)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        if google:
            renamed = {name.lower().replace("x-goog-", "x-amz-"): value for name, value in headers.items()}
            renamed["authorization"] = _SIGNED
            headers = renamed
        headers["Content-Length"] = str(len(body))
        path, _, query = self.path.partition("?")
        path = f"{quote(unquote(path))}?{query}" if google else self.path
        connection.request(self.command, path, body=body, headers=headers)
        response = connection.getresponse()
        answer = response.read()
        back = [
            (name.lower().replace("x-amz-", "x-goog-") if google else name, value)
            for name, value in response.getheaders()
            if name.lower() not in _HOP
        ]
        connection.close()
        if self.command == "HEAD":
            back.append(("Content-Length", response.getheader("Content-Length") or "0"))
        return response.status, back, answer

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: object) -> None:  # a client that was killed
        pass


@contextmanager
def running_proxy(upstream: str, *, google: bool = False) -> Iterator[Proxy]:
    """A proxy before `upstream` until the block ends."""
    proxy = Proxy("", upstream, google)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = _Server(("127.0.0.1", 0), handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.release.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
