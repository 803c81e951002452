"""Counts and sums over the jobs of a campaign; the database adds them up, however many there are."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import case, func, select

from faceflow.frozen import FrozenModel
from faceflow.infrastructure.books.campaigns.books import JobState
from faceflow.infrastructure.books.database.columns import Usd
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.books.database.schema import CampaignJobRow


class Counts(FrozenModel):
    """How many jobs of a campaign stand how."""

    waiting: int = 0
    placed: int = 0
    done: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """Done or failed."""
        return self.done + self.failed

    @property
    def jobs(self) -> int:
        """All."""
        return self.ended + self.waiting + self.placed


def counts_of(database: Database, campaign: str) -> Counts:
    """How the jobs of a campaign stand."""
    with database.read() as session:
        statement = select(CampaignJobRow.state, func.count()).where(CampaignJobRow.campaign == campaign)
        rows = session.execute(statement.group_by(CampaignJobRow.state))
        return Counts.model_validate({row.state: row[1] for row in rows})


class Sums(FrozenModel):
    """What jobs in one state on one pool come to."""

    state: JobState
    pool: str | None
    jobs: int
    late: int
    seconds: float
    cost_usd: Decimal


def sums_of(database: Database, campaign: str) -> list[Sums]:
    """Sums over the jobs of a campaign, by state and pool."""
    by = (CampaignJobRow.state, CampaignJobRow.pool)
    late = func.sum(case((CampaignJobRow.late, 1), else_=0))
    cost = func.sum(CampaignJobRow.cost_usd, type_=Usd())
    statement = select(*by, func.count(), late, func.sum(CampaignJobRow.seconds), cost)
    with database.read() as session:
        rows = session.execute(statement.where(CampaignJobRow.campaign == campaign).group_by(*by).order_by(*by))
        return [
            Sums(
                state=row[0],
                pool=row[1],
                jobs=row[2],
                late=row[3],
                seconds=row[4] or 0.0,
                cost_usd=row[5] or Decimal(0),
            )
            for row in rows
        ]


def failures_of(database: Database, campaign: str) -> dict[str, int]:
    """How many jobs failed with which error code, the most frequent first."""
    failed = (CampaignJobRow.campaign == campaign, CampaignJobRow.state == JobState.FAILED.value)
    statement = select(CampaignJobRow.code, func.count()).where(*failed).group_by(CampaignJobRow.code)
    with database.read() as session:
        rows = [(row[0] or "unknown", row[1]) for row in session.execute(statement)]
    return dict(sorted(rows, key=lambda one: (-one[1], one[0])))
