"""`INSERT ... ON CONFLICT`, which both databases know and SQLAlchemy keeps in their dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.database.schema import Base

Insert = postgresql.Insert | sqlite.Insert


def insert_if_absent(session: Session, table: type[Base], values: Mapping[str, Any], keys: Sequence[str]) -> Insert:
    """Inserts a row unless one with the same keys is there."""
    return _insert(session, table, values).on_conflict_do_nothing(index_elements=list(keys))


def insert_or_update(session: Session, table: type[Base], values: Mapping[str, Any], keys: Sequence[str]) -> Insert:
    """Inserts a row, or gives the one with the same keys the other values."""
    changed = {name: value for name, value in values.items() if name not in keys}
    return _insert(session, table, values).on_conflict_do_update(index_elements=list(keys), set_=changed)


def _insert(session: Session, table: type[Base], values: Mapping[str, Any]) -> Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).values(**values)
    return sqlite.insert(table).values(**values)
