"""Settings of what is written down and counted: the database, reserved money, campaigns."""

from __future__ import annotations

from pydantic import Field, SecretStr

from faceflow.setting_group import Group
from faceflow.settings import SwapSettings


class DatabaseSettings(Group):
    """The database of budgets, decisions and runs ([budgets.md](budgets.md))."""

    url: SecretStr | None = None
    """`postgresql://USER:PASSWORD@HOST:5432/NAME` for several machines (needs the extra `postgres`), or
    `sqlite:////absolute/path.db`. Default `faceflow.db` in the state folder. Never shown in logs and errors."""
    upgrade: bool = True
    """Whether the first process to connect upgrades the schema; otherwise run `faceflow database upgrade`."""
    busy_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """Longest wait for another writer, seconds."""
    connections: int = Field(default=5, ge=1, le=100)
    """The most connections of one process."""


class BudgetSettings(Group):
    """How long a reservation lasts without news from its run."""

    lease_s: float = Field(default=6 * 3600.0, gt=0, le=31 * 86400)
    """Lifetime of a reservation, seconds. After that, unless a run may still spend it, the money is released."""
    settle_after_s: float = Field(default=600.0, ge=0, le=86400)
    """How long after the end of an attempt's last run reconciliation settles its money, seconds, if nothing else
    has."""


class CampaignSettings(Group):
    """How campaigns are divided into batches and run."""

    batch_jobs: int = Field(default=50, ge=1, le=1000)
    """The most jobs in one batch."""
    batch_s: float = Field(default=900.0, gt=0, le=86_400)
    """Longest work of one batch, seconds on the reference GPU: the most that a lost machine can cost."""
    batches_in_flight: int = Field(default=20, ge=1, le=10_000)
    """Batches that run at once. Later ones are decided with the signals at that time."""
    jobs_in_flight: int = Field(default=1, ge=1, le=64)
    """Jobs that one batch runs at once. More jobs use a GPU better, but also need more memory."""
    attempts: int = Field(default=3, ge=1, le=100)
    """The most attempts for a job whose machine is lost or that fails temporarily."""
    poll_s: float = Field(default=2.0, ge=0.1, le=600)
    """How often a campaign's driver checks its batches, seconds."""
    patience_s: float = Field(default=3600.0, ge=0)
    """How long the driver waits while no batch can be placed, seconds; then it exits, and continues when it is started
    again."""


class SettingsWithBooks(SwapSettings):
    """Settings for opening the database."""

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    budgets: BudgetSettings = Field(default_factory=BudgetSettings)
    campaigns: CampaignSettings = Field(default_factory=CampaignSettings)
