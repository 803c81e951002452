"""What Alembic runs for every command: our tables, our version table, the connection that the upgrade has locked."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from faceflow.infrastructure.books.database.schema import Base
from faceflow.infrastructure.books.database.upgrading import VERSION_TABLE

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
