"""Settings of routing. Every room of infrastructure reads them that asks where rules and the list of pools lie."""

from __future__ import annotations

from pydantic import Field

from faceflow.setting_group import Group, Place
from faceflow.settings import SwapSettings


class RoutingSettings(Group):
    """Where jobs run, and by which rules."""

    rules: str | None = None
    """The source of the rules: a path, `block:NAME`, `etcd://HOST:PORT/KEY` or `consul://HOST:PORT/KEY` (`etcds://` and
    `consuls://` over TLS)."""
    pools: Place | None = None
    """List of pools (YAML or JSON)."""
    default_pool: str | None = None
    """The only pool if there is no list; default: this process's own. The dispatcher runs on a pool of its own, so
    `faceflow up` sets this for it."""
    dispatcher_pool: str = "dispatch"
    """Work pool of `dispatch` and the flows that look after its jobs; they do not open media."""
    attempts: int = Field(default=3, ge=1, le=100)
    """The most attempts for a job whose runs are lost or fail temporarily."""
    shards: int = Field(default=4, ge=1, le=1000)
    """The most runs that share a long job on one pool, if enough GPUs are free."""
    placing_s: float = Field(default=60.0, ge=1, le=3600)
    """An attempt that was decided but not started for this long counts as abandoned, and another dispatcher starts it,
    seconds."""
    silence_s: float = Field(default=90.0, ge=10, le=86_400)
    """A run without a heartbeat for this long counts as lost, seconds."""
    start_s: float = Field(default=600.0, ge=10, le=86_400)
    """A run that a worker took but that has not begun after this long counts as lost, seconds. If a pool in the list
    starts slowly, four times its start time counts if that is longer."""
    reconcile_s: float = Field(default=300.0, ge=10, le=86_400)
    """How often the dispatcher checks its runs, seconds; an automation reports lost ones at once."""
    retry_held_s: float = Field(default=120.0, ge=10, le=86_400)
    """How often the dispatcher re-evaluates held jobs, seconds."""
    approval_s: float = Field(default=7 * 86_400.0, ge=60)
    """How long a job over its budget waits for approval, seconds."""


class SettingsWithRouting(SwapSettings):
    """Settings for reading the list of pools."""

    routing: RoutingSettings = Field(default_factory=RoutingSettings)
