"""Why runs were lost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """To this version."""
    op.add_column("runs", sa.Column("reason", sa.Text(), nullable=True))
