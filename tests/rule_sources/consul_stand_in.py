"""Consul's key-value store as far as rules need it: GET with blocking queries, PUT with check-and-set, DELETE, a token.

python consul_stand_in.py PORT FILE [TOKEN]

Values and the index survive in FILE. Behaves as Consul's manual says: `X-Consul-Index` is the entry's index; a blocking
query returns when the key has a larger one, or after `wait`; `cas=0` writes only where nothing is.
"""

from __future__ import annotations

import json
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PORT, FILE = int(sys.argv[1]), Path(sys.argv[2])
TOKEN = sys.argv[3] if len(sys.argv) > 3 else None
changed = threading.Condition()
state = json.loads(FILE.read_text()) if FILE.exists() else {"index": 10, "entries": {}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet

    def do_GET(self):
        key, query = self._asked()
        if key is None:
            return
        with changed:
            if "index" in query:
                since = int(query["index"])
                changed.wait_for(lambda: _index(key) > since, float(query.get("wait", "300s").removesuffix("s")))
            entry, index = state["entries"].get(key), _index(key)
        if entry is None:
            self._answer(404, b"", index)
        else:
            found = {**entry, "Key": key, "Value": b64encode(entry["Value"].encode("latin-1")).decode()}
            self._answer(200, json.dumps([found]).encode(), index)

    def do_PUT(self):
        key, query = self._asked()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if key is None:
            return
        with changed:
            before = state["entries"].get(key, {"ModifyIndex": 0})
            good = "cas" not in query or int(query["cas"]) == before["ModifyIndex"]
            if good:
                self._change(key, {"Value": content.decode("latin-1")})
        self._answer(200, b"true" if good else b"false", state["index"])

    def do_DELETE(self):
        key, _ = self._asked()
        if key is not None:
            with changed:
                self._change(key, None)
            self._answer(200, b"true", state["index"])

    def _change(self, key, entry):
        state["index"] += 1
        state["entries"].pop(key, None)
        if entry is not None:
            state["entries"][key] = {**entry, "ModifyIndex": state["index"]}
        FILE.write_text(json.dumps(state))
        changed.notify_all()

    def _asked(self):
        parts = urlsplit(self.path)
        if parts.path == "/v1/status/leader":
            self._answer(200, b'"127.0.0.1:8300"', 1)
            return None, {}
        if TOKEN is not None and self.headers.get("X-Consul-Token") != TOKEN:
            self._answer(403, b"Permission denied", 1)
            return None, {}
        return unquote(parts.path).removeprefix("/v1/kv/"), {k: v[0] for k, v in parse_qs(parts.query).items()}

    def _answer(self, status, body, index):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Consul-Index", str(index))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _index(key):
    entry = state["entries"].get(key)
    return state["index"] if entry is None else entry["ModifyIndex"]


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
