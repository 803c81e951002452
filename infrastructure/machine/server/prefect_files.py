"""Prefect takes its settings from the environment alone, not from files of the folder in which the user works.

Wherever a process runs, Prefect looks there for `.env`, `prefect.toml` and `pyproject.toml`, and in its home for
profiles: at its import, and again whenever settings are copied. Such a file belongs to another project, or is broken
while somebody edits it. So Prefect is imported in a folder of ours, and from then on finds nothing in such files.
Modules of flows it would look for there too; they are imported like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from faceflow.errors import ResourceError
from faceflow.infrastructure.machine.server.server_errors import ServerError


def import_prefect(home: Path) -> None:
    """Imports Prefect with settings from the environment; `home` is Prefect's folder and is made where it is missing.

    Raises:
        ServerError: `server.settings_invalid`, where a variable by which the user names a server cannot be used.
        ResourceError: `fault.scratch_unusable`.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "profiles.toml").unlink(missing_ok=True)  # we keep nothing in it, and a broken one stops Prefect
    except OSError as error:
        raise ResourceError(
            "fault.scratch_unusable",
            f"The folder {str(home)!r} cannot be used: {error.strerror}.",
            "Set FACEFLOW_PATHS__STATE to a folder that you can write to.",
        ) from error
    with _standing_in(home):
        try:
            import_module("prefect.context")  # settings are read here at the latest
        except ValueError as error:  # pydantic's ValidationError and SettingsError are such
            raise ServerError(
                "server.settings_invalid",
                f"A Prefect setting is not valid: {_reason(error)}.",
                "Correct or unset that PREFECT_API_, PREFECT_CLIENT_ or PREFECT_CLOUD_ variable, or unset "
                "PREFECT_API_URL to use the local server.",
            ) from error

    def nothing(*_arguments: Any) -> dict[str, Any]:
        return {}

    sources: Any = import_module("prefect.settings.sources")
    sources.TomlConfigSettingsSourceBase._read_file = nothing
    sources.DotEnvSettingsSource._read_env_files = nothing
    # Prefect looks for flows in the working folder before anywhere else: a `flows` of the user's is not ours.
    finding: Any = import_module("prefect.utilities.importtools")
    finding.load_module = import_module


def _reason(error: ValueError) -> str:
    """What is wrong, without the value: it may be a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{error.title} {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    """With `folder` as the working folder; afterwards back in the one before, also where that was deleted meanwhile."""
    before = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)
