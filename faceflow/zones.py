"""Trust zones: which media may be opened or kept where. Pure facts, read by every check and by no rule.

| job         | isolated | private | public |
|-------------|----------|---------|--------|
| restricted  | yes      |         |        |
| private     | yes      | yes     |        |
| public      | yes      | yes     | yes    |
"""

from __future__ import annotations

from enum import StrEnum

from faceflow.errors import TrustError
from faceflow.job import Sensitivity


class Zone(StrEnum):
    """How far the owner of the media trusts a place."""

    ISOLATED = "isolated"
    PRIVATE = "private"
    PUBLIC = "public"


ALLOWED_ZONES: dict[Sensitivity, frozenset[Zone]] = {
    Sensitivity.RESTRICTED: frozenset({Zone.ISOLATED}),
    Sensitivity.PRIVATE: frozenset({Zone.ISOLATED, Zone.PRIVATE}),
    Sensitivity.PUBLIC: frozenset(Zone),
}


def require_pool_zone(sensitivity: Sensitivity, zone: Zone, pool: str) -> None:
    """Refuses to open media of `sensitivity` on a machine of the work pool `pool`, which stands in `zone`.

    Raises:
        TrustError: `trust.zone`.
    """
    require_zone(sensitivity, zone, f"The work pool {pool!r}")


def require_zone(sensitivity: Sensitivity, zone: Zone, place: str) -> None:
    """Refuses to let media of `sensitivity` into `place`, which lies in `zone`.

    Raises:
        TrustError: `trust.zone`, where the table above has no yes.
    """
    if zone not in ALLOWED_ZONES[sensitivity]:
        allowed = ", ".join(sorted(ALLOWED_ZONES[sensitivity]))
        raise TrustError(
            "trust.zone",
            f"{place} is in the {zone} zone, which {sensitivity} media may not enter.",
            f"Use a pool or store in one of these zones: {allowed}.",
            sensitivity=sensitivity.value,
            zone=zone.value,
        )
