"""Python's settings in every process of ours: where our packages lie, nothing of the working folder, UTF-8.

The program reads this before it imports anything else, while the user's own variables of Python may still hold; so it
needs hardly anything itself.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path

import faceflow

ROOT = Path(faceflow.__file__).parents[1]
"""Where the packages of faceflow lie."""
PYTHON_NAMES = frozenset(
    f"PYTHON{name}"
    for name in ("UNBUFFERED", "FAULTHANDLER", "NOUSERSITE", "USERBASE", "DONTWRITEBYTECODE", "PYCACHEPREFIX")
)
"""What may be said to Python: it changes nothing in what programs do."""


def python_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Python's settings in every process of ours: our own packages, none of the working folder, UTF-8."""
    found = {"PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    folders = python_path(environment)
    return {**found, "PYTHONPATH": folders} if folders else found


def python_path(environment: Mapping[str, str] | None = None) -> str:
    """PYTHONPATH for our processes, so that they import this very faceflow wherever they run.

    Folders that the user has in it come before Python's own modules, where a `typing.py` would take the place of
    Python's. They are left out, unless the libraries of faceflow themselves were installed into one of them.
    """
    environment = os.environ if environment is None else environment
    users = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    theirs = {os.path.realpath(folder) for folder in users}
    others = [folder for folder in sys.path if folder and os.path.realpath(folder) not in theirs]
    found = PathFinder.find_spec("prefect", [*others, *_site_folders()])
    carrying = users if found is None else []
    return os.pathsep.join(dict.fromkeys([*([] if _installed() else [str(ROOT)]), *carrying]))


def _installed() -> bool:
    """Whether faceflow lies where Python looks anyhow."""
    return os.path.realpath(ROOT) in {os.path.realpath(folder) for folder in _site_folders()}


def _site_folders() -> list[str]:
    return [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
