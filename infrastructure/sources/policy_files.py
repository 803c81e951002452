"""Reading files of the routing policy: rules, pools, jobs, snapshots."""

from __future__ import annotations

from pathlib import Path

from faceflow.given_files import read_given
from faceflow.infrastructure.routing.policy_errors import PolicyError


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        PolicyError: `policy.unreadable`.
    """
    try:
        return read_given(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(
            "policy.unreadable",
            f"The file {path} cannot be read: {error}",
            "Check the path, and that it is UTF-8 text.",
        ) from error
