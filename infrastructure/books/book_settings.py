"""Settings of what is written down and counted: the database, reserved money, campaigns."""

from __future__ import annotations

from pydantic import Field, SecretStr

from faceflow.setting_group import Group
from faceflow.settings import SwapSettings


class DatabaseSettings(Group):
    """Where budgets, decisions and runs are kept ([budgets.md](budgets.md))."""

    url: SecretStr | None = None
    """`postgresql://USER:PASSWORD@HOST:5432/NAME` for several machines (needs the extra `postgres`), or
    `sqlite:////absolute/path.db`. Default `faceflow.db` in the state folder. Never shown in logs and errors."""
    upgrade: bool = True
    """Whether whoever connects first brings the schema up to date; otherwise `faceflow database upgrade` has to."""
    busy_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """Longest wait for another writer, seconds."""
    connections: int = Field(default=5, ge=1, le=100)
    """Most connections that one process holds open."""


class BudgetSettings(Group):
    """How long money may stay reserved without news."""

    lease_s: float = Field(default=6 * 3600.0, gt=0, le=31 * 86400)
    """Life of a reservation, seconds. After it, and without a run that may still spend, the money is given back."""
    settle_after_s: float = Field(default=600.0, ge=0, le=86400)
    """How long after the last run of an attempt ended its money is settled by reconciliation, seconds, if whoever
    reserved it does not."""


class CampaignSettings(Group):
    """How campaigns are cut into batches and driven."""

    batch_jobs: int = Field(default=50, ge=1, le=1000)
    """Most jobs of one batch."""
    batch_s: float = Field(default=900.0, gt=0, le=86_400)
    """Longest work of one batch, seconds on the reference GPU: what a lost machine may cost at most."""
    batches_in_flight: int = Field(default=20, ge=1, le=10_000)
    """Batches that are placed at once. Later ones are decided with the signals of then."""
    jobs_in_flight: int = Field(default=1, ge=1, le=64)
    """Jobs that one batch works on at once. More fill the gaps of a GPU, and hold their memory together."""
    attempts: int = Field(default=3, ge=1, le=100)
    """How often a job is started at most, when its machine is lost or it fails in a way that may pass."""
    poll_s: float = Field(default=2.0, ge=0.1, le=600)
    """How often the driver of a campaign looks what became of its batches, seconds."""
    patience_s: float = Field(default=3600.0, ge=0)
    """How long it waits while nothing can be placed, seconds; then it ends, and goes on when it is started again."""


class SettingsWithBooks(SwapSettings):
    """The settings of whoever opens the database."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    budgets: BudgetSettings = Field(default_factory=BudgetSettings)
    campaigns: CampaignSettings = Field(default_factory=CampaignSettings)
