"""A real HTTP server on 127.0.0.1 that can be slow, break off, refuse, lie, or know no ranges. It passes for S3."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Behaviour:
    """How one path is served.

    Attributes:
        content: the file.
        ranges: whether ranges are known.
        tag: entity tag; None for one made of the content, empty for none at all.
        cut_after: bytes after which the connection breaks, for as many requests as there are numbers.
        refuse: statuses of the first requests, before the file is given.
        status: given to every request instead of the file.
        pause_s: pause after every `step` bytes.
        headers: more headers, which replace the usual ones.
        deaf: `If-Range` is not looked at.
        hang_s: silence before the answer.
        sizeless: the size is not told; the connection ends with the file.
    """

    content: bytes = b""
    ranges: bool = True
    tag: str | None = None
    cut_after: list[int] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    status: int = 200
    pause_s: float = 0.0
    step: int = 16384
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0.0
    sizeless: bool = False
    deaf: bool = False


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


class Server:
    """The running server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, Behaviour] = {}
        self.seen: list[Seen] = []
        self.serving = 0
        self.most_at_once = 0
        self.lock = threading.Lock()

    def gets(self, path: str) -> list[Seen]:
        return [one for one in self.seen if urlsplit(one.path).path == path and one.method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place: Server

    def do_GET(self):
        place = self.place
        with place.lock:
            place.seen.append(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            place.serving += 1
            place.most_at_once = max(place.most_at_once, place.serving)
        try:
            self._serve()
        finally:
            with place.lock:
                place.serving -= 1

    do_HEAD = do_GET

    def log_message(self, *_):
        pass

    def _serve(self):
        how = self.place.files.get(urlsplit(self.path).path)
        if how is None:
            return self._empty(404, {})
        time.sleep(how.hang_s)
        if how.refuse:
            return self._empty(how.refuse.pop(0), how.headers)
        if how.status != 200:
            return self._empty(how.status, how.headers)
        tag = how.tag if how.tag is not None else f'"{hashlib.md5(how.content).hexdigest()}"'
        if self.headers.get("If-Match") not in (None, tag):
            return self._empty(412, {})
        total = len(how.content)
        start, end = self._range(how, tag)
        if start >= total > 0 and start > 0:
            return self._empty(416, {"Content-Range": f"bytes */{total}"})
        body = how.content[start:end]
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        headers["Last-Modified"] = "Sat, 01 Aug 2026 00:00:00 GMT"
        if tag:
            headers["ETag"] = tag
        else:
            del headers["Last-Modified"]
        ranged = how.ranges and "Range" in self.headers and (start, end) != (0, total)
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
        if how.sizeless:
            headers |= {"Connection": "close"}
            del headers["Content-Length"]
            self.close_connection = True
        self.send_response(206 if ranged else 200)
        for name, value in {**headers, **how.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        return self._send(how, body)

    def _range(self, how, tag):
        asked = self.headers.get("Range", "")
        if not how.ranges or not asked or (self.headers.get("If-Range", tag) != tag and not how.deaf):
            return 0, len(how.content)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, len(how.content)) if last else len(how.content)

    def _send(self, how, body):
        cut = how.cut_after.pop(0) if how.cut_after else None
        for at in range(0, len(body), how.step):
            piece = body[at : at + how.step]
            if cut is not None and at + len(piece) > cut:
                self.wfile.write(piece[: cut - at])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            try:
                self.wfile.write(piece)
                self.wfile.flush()
            except OSError:  # the client has gone
                self.close_connection = True
                return
            time.sleep(how.pause_s)

    def _empty(self, status, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # connections that we cut ourselves


@contextmanager
def serving(key: Path | None = None, certificate: Path | None = None) -> Iterator[Server]:
    """Runs the server while the block runs, behind TLS where a certificate is given."""
    handler: type[_Handler] = type("Handler", (_Handler,), {})
    listener = _Quiet(("127.0.0.1", 0), handler)
    handler.place = Server(listener.server_address[1])
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        handler.place.url = handler.place.url.replace("http:", "https:")
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield handler.place
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
