"""Small stand-ins for published models: a catalogue of their own, and files that are ONNX in outline."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from faceflow.settings import ModelSettings, PathSettings, Settings


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
        models=ModelSettings(folder=tmp_path / "cache", extra=tmp_path / "models.toml", **models),
    )
