"""Which repositories get a copy, and the work pools that pull from each: of the settings, else of the list of pools."""

from __future__ import annotations

from collections.abc import Sequence

from faceflow.errors import JobError
from faceflow.infrastructure.machine.images.image_settings import SettingsWithImages
from faceflow.infrastructure.machine.images.references import repository
from faceflow.infrastructure.models.pools import listed_pools
from faceflow.infrastructure.routing.runs_on import EcsRunsOn, KubernetesRunsOn


def targets(settings: SettingsWithImages, pools: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Repositories and the pools that pull from each. Pools that share a repository need one copy.

    Args:
        settings: FACEFLOW_IMAGES__REGISTRIES, and for pools that it does not name `registry` in the list of pools.
        pools: names; empty takes all that have a registry.

    Raises:
        JobError: `job.registries_missing`, `job.pool_unknown`, `job.image_invalid`.
        PolicyError: `policy.invalid`, `policy.unreadable`, where the list of pools cannot be used.
    """
    known = {**_of_listed_pools(settings), **settings.images.registries}
    if not known:
        raise JobError(
            "job.registries_missing",
            "No registry is configured for any pool.",
            "Give the pools a `registry` in the list that FACEFLOW_ROUTING__POOLS names, or set "
            'FACEFLOW_IMAGES__REGISTRIES, for instance {"aws-g4dn-spot": "HOST/REPOSITORY"}.',
        )
    unknown = [pool for pool in pools if pool not in known]
    if unknown:
        raise JobError(
            "job.pool_unknown",
            f"No registry is configured for {', '.join(unknown)}.",
            f"Configured: {', '.join(sorted(known))}.",
        )
    grouped: dict[str, tuple[str, ...]] = {}
    for pool in pools or sorted(known):
        place = str(repository(known[pool]))
        grouped[place] = (*grouped.get(place, ()), pool)
    return grouped


def _of_listed_pools(settings: SettingsWithImages) -> dict[str, str]:
    found = {}
    for pool in listed_pools(settings):
        runs_on = pool.runs_on
        if isinstance(runs_on, KubernetesRunsOn | EcsRunsOn) and runs_on.registry:
            image = runs_on.image.partition("@")[0]
            head, slash, name = image.rpartition("/")
            found[pool.name] = f"{runs_on.registry}/{head}{slash}{name.partition(':')[0]}"
    return found
