"""The list of pools: where jobs may run, in which trust zone, on which GPUs and at what price.

It changes when a company rents or buys, not from minute to minute; what changes by the minute is in the snapshot.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from faceflow.infrastructure.routing.gpu_seconds import known_gpus
from faceflow.infrastructure.routing.remembering import RememberingModel
from faceflow.infrastructure.routing.runs_on import RunsOn
from faceflow.job import FrozenModel
from faceflow.zones import Zone


class Capacity(StrEnum):
    """How a pool's GPUs are had: our own, rented until we give them back, or rented until somebody pays more."""

    OWNED = "owned"
    ON_DEMAND = "on_demand"
    SPOT = "spot"


class Pool(FrozenModel):
    """One work pool."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    zone: Zone
    capacity: Capacity
    provider: str = "own"
    """`own`, `aws`, `azure`, `alibaba`, ...: what `cloud_provider` of the plain rules names."""
    instance_type: str = ""
    gpu: str = "t4"
    """GPU type, one of those in `data/gpu_seconds.json`."""
    gpus: int = Field(ge=1, le=1_000_000)
    """Most GPUs that work at once: machines owned, or the quota."""
    price_usd_per_gpu_hour: Decimal = Field(ge=0, le=100_000)
    """Price of an hour of use. For a spot pool the on-demand list price: it counts while the spot price is not known,
    because clouds do not ask more than it."""
    idle_usd_per_gpu_hour: Decimal = Field(default=Decimal(0), ge=0, le=100_000)
    """What an owned GPU costs an hour whether it works or not. No decision depends on it; `simulate` counts it."""
    egress_usd_per_gb: Decimal = Field(default=Decimal(0), ge=0, le=1000)
    """Price of carrying a result out, a gigabyte (10^9 bytes)."""
    start_s: float = Field(default=0.0, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds from placing to the first frame when a GPU is free: machine start, image pull, models."""
    interruptions_per_hour: float = Field(default=0.0, ge=0, le=60, allow_inf_nan=False)
    """How often a machine is taken away, for spot pools."""
    models: tuple[str, ...] = ()
    """Published networks that its machines need: what `faceflow models pull --for-pool` and `preload-models` fetch."""
    on_demand: str | None = None
    """For a spot pool: the pool with the same machines on demand, to which a late job moves."""
    runs_on: RunsOn | None = None
    """How a job is started there (`faceflow.infrastructure.machine.pools`). No decision depends on it."""
    formerly: tuple[str, ...] = ()
    """Names that the pool had before. `faceflow register` moves what the server knows under them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gpu not in known_gpus():
            raise ValueError(f"gpu {self.gpu!r} is unknown; known: {', '.join(sorted(known_gpus()))}")
        if self.on_demand is not None and self.capacity is not Capacity.SPOT:
            raise ValueError("on_demand can only be set on spot pools")
        return self


class Pools(RememberingModel):
    """All pools, in the order in which they are listed."""

    pools: tuple[Pool, ...] = Field(min_length=1, max_length=1000)

    @cached_property
    def by_name(self) -> dict[str, Pool]:
        """Pools by name."""
        return {pool.name: pool for pool in self.pools}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [pool.name for pool in self.pools]
        if len(set(names)) != len(names):
            raise ValueError("two pools have the same name")
        former = [name for pool in self.pools for name in pool.formerly]
        if len(set(former)) != len(former) or set(former) & set(names):
            raise ValueError("a former name belongs to another pool, or to two pools")
        for pool in self.pools:
            twin = self.by_name.get(pool.on_demand or pool.name)
            if twin is None:
                raise ValueError(f"pool {pool.name}: on_demand names the unknown pool {pool.on_demand!r}")
            if pool.on_demand is not None and (twin.zone is not pool.zone or twin.capacity is not Capacity.ON_DEMAND):
                raise ValueError(f"pool {pool.name}: {twin.name} is not on-demand capacity in the same zone")
            if (twin.gpu, twin.price_usd_per_gpu_hour) != (pool.gpu, pool.price_usd_per_gpu_hour):
                raise ValueError(
                    f"pool {pool.name}: {twin.name} has a different GPU or list price, so it cannot replace this pool"
                )
        return self
