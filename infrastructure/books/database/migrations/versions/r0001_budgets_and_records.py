"""The first tables: budgets, accounts, reservations, approvals, decisions, runs.

Money is in millionths of a US dollar, moments are in UTC.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "accounts",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("reserved_usd", sa.BigInteger(), nullable=False),
        sa.Column("spent_usd", sa.BigInteger(), nullable=False),
        sa.Column("approved_usd", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("reserved_usd >= 0 AND spent_usd >= 0 AND approved_usd >= 0", name=op.f("ck_accounts_sums")),
        sa.PrimaryKeyConstraint("project", "month", name=op.f("pk_accounts")),
    )
    op.create_table(
        "approvals",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("extra_usd", sa.BigInteger(), nullable=False),
        sa.Column("allowed_by", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("allowed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("extra_usd > 0", name=op.f("ck_approvals_extra")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_approvals")),
        sa.UniqueConstraint("key", name=op.f("uq_approvals_key")),
    )
    op.create_index(op.f("ix_approvals_job_id"), "approvals", ["job_id"], unique=False)
    op.create_index(op.f("ix_approvals_project"), "approvals", ["project"], unique=False)
    op.create_table(
        "budgets",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("limit_usd", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("limit_usd >= 0", name=op.f("ck_budgets_limit")),
        sa.PrimaryKeyConstraint("project", "month", name=op.f("pk_budgets")),
    )
    op.create_table(
        "decisions",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("rule", sa.String(length=80), nullable=True),
        sa.Column("policy_version", sa.BigInteger(), nullable=False),
        sa.Column("policy_hash", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_decisions")),
        sa.UniqueConstraint("digest", name=op.f("uq_decisions_digest")),
    )
    op.create_index(op.f("ix_decisions_decided_at"), "decisions", ["decided_at"], unique=False)
    op.create_index(op.f("ix_decisions_job_id_attempt"), "decisions", ["job_id", "attempt"], unique=False)
    op.create_index(op.f("ix_decisions_project_decided_at"), "decisions", ["project", "decided_at"], unique=False)
    op.create_table(
        "reservations",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("amount_usd", sa.BigInteger(), nullable=False),
        sa.Column("spent_usd", sa.BigInteger(), nullable=True),
        sa.Column("approved_usd", sa.BigInteger(), nullable=False),
        sa.Column("assumed", sa.Boolean(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('reserved', 'settled', 'released')", name=op.f("ck_reservations_state")),
        sa.CheckConstraint(
            "amount_usd >= 0 AND spent_usd >= 0 AND approved_usd >= 0", name=op.f("ck_reservations_amounts")
        ),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_project_month"), "reservations", ["project", "month"], unique=False)
    op.create_index(op.f("ix_reservations_state_lease_until"), "reservations", ["state", "lease_until"], unique=False)
    op.create_table(
        "runs",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("part", sa.String(length=80), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(length=80), nullable=False),
        sa.Column("gpu", sa.String(length=40), nullable=False),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("estimated_gpu_s", sa.Double(), nullable=True),
        sa.Column("gpu_s", sa.Double(), nullable=True),
        sa.Column("price_usd_per_gpu_hour", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(length=80), nullable=True),
        sa.CheckConstraint(
            "state IN ('submitted', 'running', 'done', 'failed', 'lost', 'cancelled')", name=op.f("ck_runs_state")
        ),
        sa.PrimaryKeyConstraint("job_id", "attempt", "pool", "part", name=op.f("pk_runs")),
    )
    op.create_index(
        op.f("ix_runs_engine_gpu_state_ended_at"), "runs", ["engine", "gpu", "state", "ended_at"], unique=False
    )
    op.create_index(op.f("ix_runs_flow_run_id"), "runs", ["flow_run_id"], unique=False)
    op.create_index(op.f("ix_runs_project_submitted_at"), "runs", ["project", "submitted_at"], unique=False)
    op.create_index(op.f("ix_runs_state_submitted_at"), "runs", ["state", "submitted_at"], unique=False)
