"""Small stand-ins for published models: a catalogue of their own, and files that are ONNX in outline."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from faceflow.errors import FaceflowError
from faceflow.infrastructure.models import download
from faceflow.infrastructure.models.pull import PullReport, pull
from faceflow.infrastructure.settings import Settings
from faceflow.settings import ModelSettings, PathSettings, PipelineSettings
from faceflow.vision.model_catalogue import Catalogue, load_catalogue
from tests.models.server import Behaviour, Server, serving


def onnx_bytes(size: int = 200_000, seed: int = 1) -> bytes:
    """`size` bytes with the outline of an ONNX file: ir_version, then one graph to the end."""
    for length_bytes in range(1, 6):
        body = size - 3 - length_bytes
        prefix = bytearray()
        rest = body
        while True:
            prefix.append((rest & 0x7F) | (0x80 if rest > 0x7F else 0))
            rest >>= 7
            if not rest:
                break
        if len(prefix) == length_bytes:
            noise = hashlib.shake_128(str(seed).encode()).digest(body)
            return b"\x08\x08\x3a" + bytes(prefix) + noise
    raise AssertionError(size)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONTENT = onnx_bytes()
OTHER = onnx_bytes(seed=2)

HEAD = """
[licence.open]
title = "Open"
commercial_ok = true
[licence.closed]
title = "Research only"
"""


def model(name: str, content: bytes = CONTENT, *, licence: str = "open", more: str = "", file: str = "") -> str:
    """A `[model.NAME]` of an extra catalogue; `file` replaces its size and hash."""
    facts = file or f'size_bytes = {len(content)}, sha256 = "{sha256(content)}"'
    return (
        f'[model."{name}"]\nkind = "swapper"\ncontract = "inswapper"\nlicence = "{licence}"\n{more}\n'
        f'file = {{ name = "{name}.onnx", {facts} }}\n'
    )


@pytest.fixture
def catalogue_file(tmp_path: Path) -> Path:
    """An extra catalogue, to be written by the test."""
    return tmp_path / "models.toml"


def settings_for(tmp_path: Path, **models) -> Settings:
    """Settings with a models folder and an extra catalogue of the test's own."""
    return Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"),
        pipeline=PipelineSettings(keep_free_bytes=1_000_000),
        models=ModelSettings(folder=tmp_path / "cache", extra=tmp_path / "models.toml", **models),
    )


@pytest.fixture
def server():
    """An HTTP server of the test's own."""
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.01)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("FACEFLOW_", "AWS_"))]:
        monkeypatch.delenv(name)


class Bench:
    """A catalogue, a models folder and a server; `pull` pulls by the test's own catalogue."""

    def __init__(self, tmp_path: Path, server: Server) -> None:
        self.tmp_path = tmp_path
        self.server = server
        self.text = HEAD

    def add(self, name: str, content: bytes = CONTENT, *, facts: str | None = None, sources=None, **more) -> Behaviour:
        """A model that the server has at `/NAME.onnx`; `facts` replaces its size and hash."""
        behaviour = self.server.files[f"/{name}.onnx"] = Behaviour(content)
        known = f'size_bytes = {len(content)}, sha256 = "{sha256(content)}"' if facts is None else facts
        addresses = json.dumps(sources if sources is not None else [f"{self.server.url}/{name}.onnx"])
        file = ", ".join(part for part in (known, f"sources = {addresses}") if part)
        self.text += model(name, content, file=file, **more)
        return behaviour

    @property
    def known(self) -> Catalogue:
        path = self.tmp_path / "models.toml"
        path.write_text(self.text)
        return load_catalogue(path)

    def settings(self, **models) -> Settings:
        return settings_for(self.tmp_path, **models)

    def pull(self, *names: str, watcher=None, stop=None, **models) -> PullReport:
        report = pull(names or ("net",), self.settings(**models), known=self.known, watcher=watcher, stop=stop)
        report.require_complete()
        return report

    def path(self, name: str = "net") -> Path:
        return self.tmp_path / "cache" / name / f"{name}.onnx"

    def files(self, name: str = "net") -> set[str]:
        """What lies in the model's folder, but for locks."""
        folder = self.tmp_path / "cache" / name
        return {one.name for one in folder.iterdir() if not one.name.endswith(".lock")} if folder.exists() else set()

    def error(self, *names: str, **models) -> FaceflowError:
        """The error of a pull, after which nothing lies under a good name."""
        with pytest.raises(FaceflowError) as caught:
            self.pull(*names, **models)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path, server: Server) -> Bench:
    return Bench(tmp_path, server)


def packed(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.fixture
def pack(bench):
    """Two models in an archive that the server has."""
    content = packed({"pack/one.onnx": CONTENT, "pack/two.onnx": OTHER, "pack/readme.txt": b"hello"})
    how = bench.server.files["/pack.zip"] = Behaviour(content)
    bench.text += (
        f'[archive."pack.zip"]\nsize_bytes = {len(content)}\nsha256 = "{sha256(content)}"\n'
        f'sources = ["{bench.server.url}/pack.zip"]\n'
    )
    for name, inside in (("one", CONTENT), ("two", OTHER)):
        bench.add(name, inside, sources=[])
        bench.text = bench.text.replace(f'name = "{name}.onnx",', f'name = "{name}.onnx", archive = "pack.zip",')
    bench.text += '[model.both]\nkind = "pack"\nlicence = "open"\nneeds = ["one", "two"]\n'
    return how
