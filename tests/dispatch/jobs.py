"""Requests of the tests, as the UI and programs send them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEGMENT_S = 0.66
SEGMENTS = 6


@dataclass(frozen=True)
class Clip:
    """Inputs, and the bytes that one process makes of them."""

    source: Path
    target: Path
    sha256: str

    def job(self, output: Path, **more: Any) -> dict[str, Any]:
        """The request that gives these bytes."""
        return {
            "sources": [{"portraits": [str(self.source)]}],
            "target": str(self.target),
            "output": str(output),
            "encoding": {"segment_s": SEGMENT_S, "max_long_side_px": 160},
            "consent": {"subject": "Eileen Collins", "scope": "tests of this program", "reference": "NASA S93-45481"},
            **more,
        }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
