"""The tables. A change here needs a migration (`migrations/versions`) and a new `SCHEMA_VERSION`; a test compares them.

budgets what a project may spend in a month accounts what is reserved and spent of it: one row a project and month,
locked while booking reservations money that was taken aside for one attempt of a job, and what became of it approvals
who allowed a job more than the budgets say decisions where a job was sent and why, with everything that the decision
was made from runs the pieces of work that an attempt became, on which pool, for how long and for how much requests what
the dispatcher was asked for, and how far that came
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Double, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from faceflow.infrastructure.books.database.columns import Usd, UtcMoment

SCHEMA_VERSION = "0005"
"""Name of the newest migration."""

STANDING = "always"
"""In place of a month: the budget of every month that has none of its own."""

_Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables; constraints are named alike on every database."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {Decimal: Usd(), datetime: UtcMoment(), float: Double()}


class BudgetRow(Base):
    """What a project may spend in one month (`2026-12`), or in every month that has no row of its own (`always`)."""

    __tablename__ = "budgets"
    __table_args__ = (CheckConstraint("limit_usd >= 0", name="limit"),)
    project: Mapped[str] = mapped_column(String(), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    limit_usd: Mapped[Decimal]
    changed_at: Mapped[datetime]


class AccountRow(Base):
    """Running sums over the reservations of a project and month. `approved_usd` is the part beyond the budget."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("reserved_usd >= 0 AND spent_usd >= 0 AND approved_usd >= 0", name="sums"),)
    project: Mapped[str] = mapped_column(String(), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    reserved_usd: Mapped[Decimal] = mapped_column(default=Decimal(0))
    spent_usd: Mapped[Decimal] = mapped_column(default=Decimal(0))
    approved_usd: Mapped[Decimal] = mapped_column(default=Decimal(0))


class ReservationRow(Base):
    """Money of one attempt of a job (or of a micro-batch of `count` jobs)."""

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("state IN ('reserved', 'settled', 'released')", name="state"),
        CheckConstraint("amount_usd >= 0 AND spent_usd >= 0 AND approved_usd >= 0", name="amounts"),
        Index(None, "project", "month"),
        Index(None, "state", "lease_until"),
    )
    job_id: Mapped[str] = mapped_column(String(), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String())
    month: Mapped[str] = mapped_column(String(7))
    count: Mapped[int]
    state: Mapped[str] = mapped_column(String(8))
    amount_usd: Mapped[Decimal]
    spent_usd: Mapped[Decimal | None]
    approved_usd: Mapped[Decimal]
    """Part of the amount that an approval covers, because the budget did not."""
    assumed: Mapped[bool]
    """Whether `spent_usd` was put in by reconciliation; the true amount replaces it when it comes."""
    made_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    why: Mapped[str] = mapped_column(Text)


class ApprovalRow(Base):
    """A person allowed a job more than its budgets say."""

    __tablename__ = "approvals"
    __table_args__ = (CheckConstraint("extra_usd > 0", name="extra"),)
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(), unique=True)
    """Names the act of approving, so that the same one, told twice, counts once."""
    job_id: Mapped[str] = mapped_column(String(), index=True)
    project: Mapped[str] = mapped_column(String(), index=True)
    extra_usd: Mapped[Decimal]
    allowed_by: Mapped[str] = mapped_column(String())
    why: Mapped[str] = mapped_column(Text)
    allowed_at: Mapped[datetime]


class DecisionRow(Base):
    """One decision with what it was made from. The JSON texts are kept as they were written."""

    __tablename__ = "decisions"
    __table_args__ = (Index(None, "job_id", "attempt"), Index(None, "project", "decided_at"))
    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 over the three texts: the same decision, told twice, is kept once."""
    job_id: Mapped[str] = mapped_column(String())
    attempt: Mapped[int]
    project: Mapped[str] = mapped_column(String())
    decided_at: Mapped[datetime] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(20))
    rule: Mapped[str | None] = mapped_column(String(80))
    policy_version: Mapped[int] = mapped_column(BigInteger)
    policy_hash: Mapped[str] = mapped_column(String(64))
    facts: Mapped[str] = mapped_column(Text)
    snapshot: Mapped[str] = mapped_column(Text)
    decision: Mapped[str] = mapped_column(Text)


class RunRow(Base):
    """One piece of work of an attempt: a pool's placement, or a shard of it (`part`)."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("state IN ('submitted', 'running', 'done', 'failed', 'lost', 'cancelled')", name="state"),
        Index(None, "engine", "gpu", "state", "ended_at"),
        Index(None, "project", "submitted_at"),
        Index(None, "state", "submitted_at"),
    )
    job_id: Mapped[str] = mapped_column(String(), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    pool: Mapped[str] = mapped_column(String(), primary_key=True)
    part: Mapped[str] = mapped_column(String(80), primary_key=True)
    project: Mapped[str] = mapped_column(String())
    count: Mapped[int]
    engine: Mapped[str] = mapped_column(String(80))
    gpu: Mapped[str] = mapped_column(String(40))
    flow_run_id: Mapped[str | None] = mapped_column(String(36), index=True)
    state: Mapped[str] = mapped_column(String(10))
    submitted_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    estimated_gpu_s: Mapped[float | None]
    """GPU-seconds by the table alone, without corrections."""
    gpu_s: Mapped[float | None]
    price_usd_per_gpu_hour: Mapped[Decimal | None]
    cost_usd: Mapped[Decimal | None]
    error_code: Mapped[str | None] = mapped_column(String(80))
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was lost, in words."""


class RequestRow(Base):
    """One request to the dispatcher. A change names the version that it saw."""

    __tablename__ = "requests"
    __table_args__ = (Index(None, "state", "changed_at"),)
    job_id: Mapped[str] = mapped_column(String(), primary_key=True)
    project: Mapped[str] = mapped_column(String(), index=True)
    job: Mapped[str] = mapped_column(Text)
    """The request itself, JSON."""
    known: Mapped[str] = mapped_column(Text)
    """What the caller knew of the media, JSON."""
    state: Mapped[str] = mapped_column(String(10))
    attempt: Mapped[int]
    decision: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    version: Mapped[int]


class CampaignRow(Base):
    """A campaign: thousands of jobs that were given together."""

    __tablename__ = "campaigns"
    name: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime]
    held: Mapped[str] = mapped_column(Text)
    """Why what waits is not placed; empty while it is."""
    driver: Mapped[str]
    """Who drives it, and until when nobody else may."""
    driven_until: Mapped[datetime]


class CampaignJobRow(Base):
    """One job of a campaign, and how it stands."""

    __tablename__ = "campaign_jobs"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'placed', 'done', 'failed')", name="state"),
        Index(None, "campaign", "state", "route", "line"),
        Index(None, "campaign", "batch"),
        Index(None, "campaign", "line", "name"),
    )
    campaign: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(24), primary_key=True)
    line: Mapped[int]
    project: Mapped[str] = mapped_column(index=True)
    row: Mapped[str] = mapped_column(Text)
    route: Mapped[str] = mapped_column(String(24))
    alone: Mapped[bool]
    """Whether it was in work when a run was lost: it is tried again in a batch of its own."""
    state: Mapped[str] = mapped_column(String(7))
    attempt: Mapped[int]
    batch: Mapped[str | None] = mapped_column(String(30))
    pool: Mapped[str | None]
    seconds: Mapped[float | None]
    cost_usd: Mapped[Decimal | None]
    ended_at: Mapped[datetime | None]
    late: Mapped[bool]
    code: Mapped[str | None] = mapped_column(String(80))
    message: Mapped[str | None] = mapped_column(Text)
