"""The trust wall: which zones a job may enter. It reads the job's sensitivity and the pools' zones, and no rule.

`decide` asks twice, by two separate ways: `shut_out` takes pools away before the rules are read, and `breaches` looks
at the finished placements, as a stranger would. Two more checks stand elsewhere and trust neither: at the start of
every flow that opens media, and in every store.
"""

from __future__ import annotations

from collections.abc import Iterable

from faceflow.errors import TrustError
from faceflow.infrastructure.routing.pools import Pool
from faceflow.job import Sensitivity
from faceflow.zones import ALLOWED_ZONES, Zone, require_zone

EXPOSURE = {Zone.ISOLATED: 0, Zone.PRIVATE: 1, Zone.PUBLIC: 2}
"""How far a zone is from the owner of the media; less is safer."""


def shut_out(sensitivity: Sensitivity, pool: Pool) -> str | None:
    """Why a job may not enter a pool; None where it may."""
    if pool.zone in ALLOWED_ZONES[sensitivity]:
        return None
    return f"{sensitivity} media may not enter the {pool.zone} zone"


def breaches(sensitivity: Sensitivity, placed: Iterable[Pool]) -> list[str]:
    """What a finished decision did against the table of zones; empty where all is well."""
    found = []
    for pool in placed:
        try:
            require_zone(sensitivity, pool.zone, f"The pool {pool.name}")
        except TrustError as error:
            found.append(error.message)
    return found
