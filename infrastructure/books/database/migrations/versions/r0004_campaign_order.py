"""Jobs of a campaign in the order of its list, without sorting them for every page."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """To this version."""
    op.create_index(op.f("ix_campaign_jobs_campaign_line_name"), "campaign_jobs", ["campaign", "line", "name"])
