"""Campaigns and their jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held", sa.Text(), nullable=False),
        sa.Column("driver", sa.String(), nullable=False),
        sa.Column("driven_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_campaigns")),
    )
    op.create_table(
        "campaign_jobs",
        sa.Column("campaign", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.Column("route", sa.String(length=24), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=7), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("batch", sa.String(length=30), nullable=True),
        sa.Column("pool", sa.String(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("cost_usd", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(length=80), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'placed', 'done', 'failed')", name=op.f("ck_campaign_jobs_state")),
        sa.PrimaryKeyConstraint("campaign", "name", name=op.f("pk_campaign_jobs")),
    )
    op.create_index(
        op.f("ix_campaign_jobs_campaign_state_route_line"), "campaign_jobs", ["campaign", "state", "route", "line"]
    )
    op.create_index(op.f("ix_campaign_jobs_campaign_batch"), "campaign_jobs", ["campaign", "batch"])
    op.create_index(op.f("ix_campaign_jobs_project"), "campaign_jobs", ["project"])
