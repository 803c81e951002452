"""Where this faceflow is installed, and which commands work there.

The same program runs from a checkout, from a wheel that pip installed and in a container image. What is missing is
fetched in another way in each of them, so texts that say what to do ask here for the command instead of naming one:

    installation().with_extra("people")    in a checkout    Install the extra `people` (make develop)
                                           from a wheel     Install the extra `people` (pip install 'faceflow[people]')
                                           in the image     Use an image that has the extra `people` (...)
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import faceflow
from faceflow.errors import FaultError

IMAGE_MARK = ".in-image"
"""File beside the package by which the container image says that it is one; the Dockerfile makes it."""
_OF_SETUP = frozenset({"cpu", "demo", "s3", "azure"})
"""Extras that `make setup` brings; `make develop` brings the others."""


class Place(StrEnum):
    """What the program was started from."""

    CHECKOUT = "checkout"
    WHEEL = "wheel"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed faceflow."""

    place: Place
    root: Path
    """Folder that holds the package `faceflow`: of a checkout the top, otherwise where pip puts packages."""
    pip: str = "pip install"
    """The command that installs into this Python."""

    def with_extra(self, *names: str) -> str:
        """A sentence without its full stop: how an extra is installed; of several, one or the other."""
        what = f"the extra {' or '.join(f'`{name}`' for name in names)}"
        if self.place is Place.IMAGE:
            return f"Use an image that has {what} (docs/image.md says how to build one)"
        return f"Install {what} ({', or '.join(map(self._extra, names))})"

    def anew(self) -> str:
        """A sentence without its full stop: how an installation that is damaged is made again."""
        if self.place is Place.CHECKOUT:
            return f"Make the environment again ({self._make('clean', 'setup')})"
        if self.place is Place.IMAGE:
            return "Pull or build the image again"
        return f"Reinstall faceflow from its wheel ({self.pip} --force-reinstall FILE.whl)"

    def package(self, name: str) -> str:
        """A sentence without its full stop: how a package that is missing or damaged is installed again."""
        if self.place is Place.WHEEL:
            return f"Reinstall the package {name} ({self.pip} --force-reinstall {shlex.quote(name)})"
        return self.anew()

    def example(self, name: str) -> str:
        """A clause: where an example lies, such as `policies/pools.yaml`, or what writes it."""
        if self.place is Place.CHECKOUT:
            return f"{self._path('deployments', *name.split('/'))} is an example"
        return f"`faceflow examples FOLDER` writes an example, {name}"

    def _extra(self, name: str) -> str:
        if self.place is Place.WHEEL:
            return f"{self.pip} 'faceflow[{name}]'"
        if name == "gpu":
            return f"{self._path('requirements', 'setup.sh')} gpu"
        return self._make("setup" if name in _OF_SETUP else "develop")

    def _make(self, *targets: str) -> str:
        folder = [] if self._is_here() else ["-C", str(self.root)]
        return shlex.join(["make", *folder, *targets])

    def _path(self, *parts: str) -> str:
        return shlex.quote(str(Path(*parts) if self._is_here() else self.root.joinpath(*parts)))

    def _is_here(self) -> bool:
        """Whether the current folder is the checkout, so that commands need not name it."""
        try:
            return Path.cwd() == self.root
        except FileNotFoundError:  # the current folder was removed
            return False


def installation() -> Installation:
    """The one that is running."""
    root = Path(faceflow.__file__).resolve().parents[1]
    if (root / IMAGE_MARK).exists():
        place = Place.IMAGE
    elif (root / "requirements" / "setup.sh").is_file() and Path(sys.prefix) == root / ".venv":
        place = Place.CHECKOUT
    else:
        place = Place.WHEEL
    return Installation(place, root, _pip())


def not_loadable(error: ImportError) -> FaultError:
    """`fault.installation`, for a module that cannot be imported."""
    return FaultError(
        "fault.installation",
        f"A part of the installation cannot be loaded: {error}.",
        f"{installation().anew()}. If memory is limited (`ulimit -v`), raise that limit first.",
    )


def _pip() -> str:
    """`pip install` where that pip is this Python's, otherwise what names this Python."""
    found = shutil.which("pip")
    if found is not None and os.path.dirname(found) == os.path.dirname(sys.executable):  # noqa: PTH120 - a link stays one
        return "pip install"
    python = shlex.quote(sys.executable)
    return f"{python} -m pip install" if find_spec("pip") else f"uv pip install --python {python}"
