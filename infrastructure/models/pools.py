"""Which models a work pool needs: by the settings of the machine, or by the list of pools that routing reads."""

from __future__ import annotations

from faceflow.errors import JobError
from faceflow.given_files import read_given
from faceflow.infrastructure.routing.loading import load_pools
from faceflow.infrastructure.routing.policy_errors import PolicyError
from faceflow.infrastructure.routing.pools import Pool
from faceflow.infrastructure.routing_settings import SettingsWithRouting


def models_of_pool(pool: str, settings: SettingsWithRouting) -> tuple[str, ...]:
    """Names of the models that a work pool needs: of FACEFLOW_MODELS__POOLS, else of the list of pools.

    Raises:
        JobError: `job.pool_unknown`, where neither names models for it.
        PolicyError: `policy.invalid`, `policy.unreadable`, where the list of pools cannot be used.
    """
    named = settings.models.pools
    if pool in named:
        return named[pool]
    listed = {one.name: one for one in listed_pools(settings)}
    if pool in listed and listed[pool].models:
        return listed[pool].models
    raise JobError(
        "job.pool_unknown",
        f"The models that the pool {pool!r} needs are not configured.",
        'Set FACEFLOW_MODELS__POOLS, such as {"gpu": ["inswapper_128"]}, give the pool `models` in the list that '
        "FACEFLOW_ROUTING__POOLS names, or pass the models' names.",
        pool=pool,
        known=sorted({*named, *(name for name, one in listed.items() if one.models)}),
    )


def listed_pools(settings: SettingsWithRouting) -> tuple[Pool, ...]:
    """The list of pools of FACEFLOW_ROUTING__POOLS; empty where that is not set. Raises as `models_of_pool` does."""
    path = settings.routing.pools
    if path is None:
        return ()
    try:
        text = read_given(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(
            "policy.unreadable",
            f"The list of pools {str(path)!r} cannot be read: {error}.",
            "Correct FACEFLOW_ROUTING__POOLS.",
            path=str(path),
        ) from error
    return load_pools(text, f"The list of pools {str(path)!r}").pools
