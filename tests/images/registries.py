"""Real registries on free ports of 127.0.0.1, small images made by hand, and a line that can be cut in the middle."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import socket
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import unquote

from tests.servers import free_port, needed, running

USER, PASSWORD = "pool", "secret-of-the-pool"
# What `htpasswd -nbB` makes of them.
LOGIN = "$2b$04$jhlIo1dVJtNG8qaS1h6SHe/AJ2tanYIKJmHCrUz4bGjoYaC5CLY.O"
_COMMIT = re.compile(r'"PUT /v2/(?P<name>[^"?]+)/blobs/uploads/[^"?]*\?[^"]*digest=(?P<digest>[^"&\s]+)[^"]*" 201')


@dataclass
class Registry:
    """A running registry."""

    host: str
    folder: Path

    def blobs(self, name: str) -> set[str]:
        """Digests of the layers and configurations that a repository has."""
        links = (self.folder / "data/docker/registry/v2/repositories" / name / "_layers/sha256").glob("*/link")
        return {link.read_text() for link in links}

    def received(self, name: str) -> Counter[str]:
        """How often each digest was sent to the end."""
        found = _COMMIT.finditer((self.folder / "log").read_text())
        return Counter(unquote(match["digest"]) for match in found if match["name"] == name)


@contextmanager
def running_registry(folder: Path, *, closed: bool = False) -> Iterator[Registry]:
    """A registry from the Debian package; `closed` asks for USER and PASSWORD."""
    program = needed("docker-registry", "docker-registry")
    needed("skopeo", "skopeo")
    folder.mkdir(parents=True)
    host = f"127.0.0.1:{free_port()}"
    settings: dict = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "of the test"},
        "health": {"storagedriver": {"enabled": True}},
    }
    if closed:
        (folder / "users").write_text(f"{USER}:{LOGIN}\n")
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "users")}}
    (folder / "settings.yml").write_text(json.dumps(settings))
    # `/` answers without a login.
    with running([program, "serve", str(folder / "settings.yml")], f"http://{host}/", folder):
        yield Registry(host, folder)


def put_image(host: str, name: str, tag: str, folder: Path, layers: tuple[int, ...] = (20_000, 30_000), seed: int = 1,
              created: str = "2026-11-27T10:00:00Z", architectures: tuple[str, ...] = ("amd64",)) -> str:  # fmt: skip
    """Pushes an image with layers of these sizes in bytes; gives its digest. A list, where several architectures."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, kind: str) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    manifests = []
    for number, architecture in enumerate(architectures):
        packed, plain = [], []
        random = Random(seed * 100 + number)
        for size in layers:
            raw = _archive(random.randbytes(size))
            plain.append(f"sha256:{hashlib.sha256(raw).hexdigest()}")
            packed.append(put(gzip.compress(raw, 1, mtime=0), "layer.v1.tar+gzip"))
        config = {"architecture": architecture, "os": "linux", "created": created, "config": {},
                  "rootfs": {"type": "layers", "diff_ids": plain}}  # fmt: skip
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": put(json.dumps(config).encode(), "config.v1+json"), "layers": packed}  # fmt: skip
        described = put(json.dumps(manifest).encode(), "manifest.v1+json")
        manifests.append(described | {"platform": {"architecture": architecture, "os": "linux"}})
    if len(manifests) > 1:
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
        manifests = [put(json.dumps(index).encode(), "index.v1+json")]
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    subprocess.run(
        [
            "skopeo",
            "copy",
            "--quiet",
            "--all",
            "--dest-tls-verify=false",
            f"oci:{folder}",
            f"docker://{host}/{name}:{tag}",
        ],
        check=True,
        capture_output=True,
    )
    return manifests[0]["digest"]


def _archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class StallingLine:
    """Passes connections on to a registry; one that has sent `limit_bytes` hangs until the line is cut."""

    def __init__(self, host: str, limit_bytes: int):
        self._to = host.rsplit(":", 1)
        self._limit_bytes = limit_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._cut = threading.Event()
        self.stalled = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def unlimited(self) -> None:
        """From now on everything passes."""
        self._limit_bytes = 1 << 60

    def cut(self) -> None:
        """Breaks all connections; new ones are taken."""
        self._cut.set()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection((self._to[0], int(self._to[1])))
                self._open += [here, there]
                threading.Thread(target=self._pump, args=(here, there, self._limit_bytes), daemon=True).start()
                threading.Thread(target=self._pump, args=(there, here, 1 << 60), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, limit_bytes: int) -> None:
        passed = 0
        with suppress(OSError):
            while chunk := one.recv(65536):
                passed += len(chunk)
                if passed > limit_bytes:
                    self.stalled.set()
                    self._cut.wait(60)
                    return
                other.sendall(chunk)
            other.shutdown(socket.SHUT_WR)
