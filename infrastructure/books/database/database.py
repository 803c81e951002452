"""Connections and transactions: a block in which one reads, and a block in which one writes.

A write block on SQLite begins with BEGIN IMMEDIATE: it waits for its turn at once, not in its middle, where SQLite
could only fail. On PostgreSQL a booking locks the account's row first. A block that ends with an exception leaves
nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session

from faceflow.infrastructure.books.book_settings import SettingsWithBooks
from faceflow.infrastructure.books.database.address import DatabaseAddress, address_of
from faceflow.infrastructure.books.database.database_errors import DatabaseError, DatabaseSetupError
from faceflow.infrastructure.books.database.explaining import explained
from faceflow.infrastructure.books.database.upgrading import SchemaState, require_current, schema_state, upgrade
from faceflow.installation import installation
from faceflow.own_files import require_ordinary

CONNECT_TIMEOUT_S = 10
_WRITES = "faceflow_writes"


class Database:
    """An open database, for all threads of one process. A forked child opens its own."""

    def __init__(self, engine: Engine, address: DatabaseAddress, busy_timeout_s: float) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{_WRITES: True})
        self._busy_timeout_s = busy_timeout_s
        self.address = address

    @classmethod
    def open(cls, settings: SettingsWithBooks) -> Self:
        """Connects, and brings the schema up to date where the settings allow that.

        Raises:
            DatabaseSetupError: `database.url_invalid`, `database.driver_missing`, `database.newer`, `database.older`.
            DatabaseError: `database.unreachable`, `database.busy`, `database.failed`.
        """
        database = cls.connect(settings)
        try:
            if settings.database.upgrade:
                database.upgrade()
            else:
                with explained(database.address):
                    require_current(database._engine, database.address)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def connect(cls, settings: SettingsWithBooks) -> Self:
        """The database as it is, whatever its schema; for `faceflow database`."""
        address = address_of(settings)
        return cls(_engine(address, settings), address, settings.database.busy_timeout_s)

    def upgrade(self) -> SchemaState:
        """Brings the schema up to date, once, however many processes do this together. Returns what it was before."""
        with explained(self.address):
            return upgrade(self._engine, self.address, self._busy_timeout_s)

    def schema_state(self) -> SchemaState:
        """Which version the schema has."""
        with explained(self.address):
            return schema_state(self._engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that changes nothing."""
        with explained(self.address), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is kept as a whole when the block ends, or not at all."""
        with explained(self.address), Session(self._writing, expire_on_commit=False) as session, session.begin():
            session.connection()  # takes the turn now, not with the first statement
            yield session

    def close(self) -> None:
        """Gives the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.address}>"


def _engine(address: DatabaseAddress, settings: SettingsWithBooks) -> Engine:
    limits = settings.database
    if address.file is not None:
        _make_file(address, address.file)
        engine = create_engine(
            address.url,
            hide_parameters=True,
            pool_size=limits.connections,
            max_overflow=0,
            pool_timeout=limits.busy_timeout_s,
            connect_args={"timeout": limits.busy_timeout_s},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    milliseconds = int(limits.busy_timeout_s * 1000)
    try:
        return create_engine(
            address.url,
            hide_parameters=True,
            pool_size=limits.connections,
            max_overflow=0,
            pool_timeout=limits.busy_timeout_s,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "faceflow",
                "options": f"-c lock_timeout={milliseconds} -c timezone=UTC",
            },
        )
    except ModuleNotFoundError:
        raise DatabaseSetupError(
            "database.driver_missing",
            "The driver for PostgreSQL is not installed.",
            f"{installation().with_extra('postgres')}.",
        ) from None


def _make_file(address: DatabaseAddress, path: Path) -> None:
    """The file and its folder, for its owner only: budgets and decisions are nobody else's business."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_ordinary(path)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            "database.unreachable",
            f"The {address} cannot be opened: {error.strerror}.",
            "Set FACEFLOW_PATHS__STATE to a folder that you can write to, or FACEFLOW_DATABASE__URL to another "
            "database.",
        ) from error


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")  # what was reserved survives a power cut
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
