"""Files that the `policy` and `simulate` commands read: pools, jobs, snapshots, records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from faceflow.infrastructure.routing.comparing import Record
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pools
from faceflow.infrastructure.settings import current_settings
from faceflow.infrastructure.sources.policy_files import read_text
from faceflow.installation import installation


def pools_from(path: Path | None) -> Pools | None:
    """The list of pools in a file, or in the one that the settings name; None where there is neither."""
    path = path or current_settings().routing.pools
    return None if path is None else load_pools(read_text(path), str(path))


def needed_pools(path: Path | None) -> Pools:
    """The same, where nothing can be done without it.

    Raises:
        PolicyError: `policy.pools_missing`.
    """
    pools = pools_from(path)
    if pools is None:
        raise PolicyError(
            "policy.pools_missing",
            "There is no list of pools.",
            f"Use --pools FILE, or set FACEFLOW_ROUTING__POOLS; {installation().example('policies/pools.yaml')}.",
        )
    return pools


def records_from(path: Path) -> Iterator[Record]:
    """Decisions that were kept, one JSON object a line.

    Raises:
        PolicyError: `policy.record_invalid`, naming the line.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield Record.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise PolicyError(
                "policy.record_invalid",
                f"Line {number} of {path} is not a valid record: {field}: {first['msg']}",
                "A record is one JSON object with `job`, `snapshot` and, if known, `decision`.",
            ) from error
