"""Settings of routing. Every room of infrastructure reads them that asks where rules and the list of pools lie."""

from __future__ import annotations

from pydantic import Field

from faceflow.setting_group import Group, Place
from faceflow.settings import SwapSettings


class RoutingSettings(Group):
    """Where jobs are sent, and by which rules."""

    rules: str | None = None
    """Where the rules come from: a path, `block:NAME`, `etcd://HOST:PORT/KEY` or `consul://HOST:PORT/KEY` (`etcds://`
    and `consuls://` over TLS)."""
    pools: Place | None = None
    """List of pools (YAML or JSON)."""
    default_pool: str | None = None
    """The one pool there is where no list is given; this process's own unless it is set. `faceflow up` tells the
    dispatcher, which runs on a pool of its own, which pool it serves."""
    dispatcher_pool: str = "dispatch"
    """Work pool on which `dispatch` and the flows that look after its jobs run; no media is opened there."""
    attempts: int = Field(default=3, ge=1, le=100)
    """How often a job is started at most, when its runs are lost or fail in a way that may pass."""
    shards: int = Field(default=4, ge=1, le=1000)
    """Runs at most that share a long job on one pool, as far as GPUs are free."""
    placing_s: float = Field(default=60.0, ge=1, le=3600)
    """After this long an attempt that was decided and not started counts as left behind, and is started, seconds."""
    silence_s: float = Field(default=90.0, ge=10, le=86_400)
    """A run whose heartbeat was not heard for this long counts as lost, seconds."""
    start_s: float = Field(default=600.0, ge=10, le=86_400)
    """A run that a worker took and that has not begun after this long counts as lost, seconds. Where the list of pools
    has one that starts slowly, four times its start counts when that is longer."""
    reconcile_s: float = Field(default=300.0, ge=10, le=86_400)
    """How often the dispatcher looks what became of its runs, seconds; of lost ones it is told at once."""
    retry_held_s: float = Field(default=120.0, ge=10, le=86_400)
    """How often held jobs are decided again, seconds."""
    approval_s: float = Field(default=7 * 86_400.0, ge=60)
    """How long a job over its budget waits for somebody's approval, seconds."""


class SettingsWithRouting(SwapSettings):
    """The settings of whoever reads the list of pools."""

    routing: RoutingSettings = Field(default_factory=RoutingSettings)
