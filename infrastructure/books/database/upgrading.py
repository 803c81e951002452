"""The schema's version, and bringing it up to date exactly once, however many processes start together.

A process that finds the newest version does nothing more, and takes no lock. The others take one (PostgreSQL: an
advisory lock; SQLite: a lock on a file beside the database), look again, and migrate in one transaction, so that a
process that dies in the middle leaves the old schema.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from faceflow.infrastructure.books.database.address import DatabaseAddress
from faceflow.infrastructure.books.database.database_errors import DatabaseError, DatabaseSetupError
from faceflow.infrastructure.books.database.schema import SCHEMA_VERSION
from faceflow.own_files import open_lock

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "faceflow_schema"
"""Not Alembic's usual name: Prefect's own tables may lie in the same database."""
_LOCK = 0x66616365666C6F77  # "faceflow" in ASCII
_POLL_S = 0.02


class SchemaState(StrEnum):
    """How a database's schema relates to this program."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


def schema_state(engine: Engine) -> SchemaState:
    """Which version the database has."""
    with engine.connect() as connection:
        return _state(_version(connection))


def require_current(engine: Engine, address: DatabaseAddress) -> None:
    """For those who may not upgrade.

    Raises:
        DatabaseSetupError: `database.older`, `database.newer`.
    """
    state = schema_state(engine)
    if state is SchemaState.NEWER:
        raise _newer(address)
    if state is not SchemaState.CURRENT:
        raise DatabaseSetupError(
            "database.older",
            f"The schema of the {address} is older than this version of faceflow.",
            "Run `faceflow database upgrade`, or allow automatic upgrades with FACEFLOW_DATABASE__UPGRADE=true.",
        )


def upgrade(engine: Engine, address: DatabaseAddress, timeout_s: float) -> SchemaState:
    """Brings the schema up to date and returns what it was before.

    Raises:
        DatabaseSetupError: `database.newer`: a later version of faceflow made it; nothing is changed.
        DatabaseError: `database.busy` where another process holds the lock for longer than `timeout_s`.
    """
    state = schema_state(engine)
    if state is SchemaState.NEWER:
        raise _newer(address)
    if state is SchemaState.CURRENT:
        return state
    with _locked(engine, address, timeout_s) as connection:
        state = _state(_version(connection))
        if state is SchemaState.NEWER:
            raise _newer(address)
        if state is not SchemaState.CURRENT:
            _migrate(connection)
        return state


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return None if version is None else str(version)


def _state(version: str | None) -> SchemaState:
    """Versions are numbers in order, `0001` and on, and this program knows all up to its own."""
    if version is None:
        return SchemaState.EMPTY
    if version == SCHEMA_VERSION:
        return SchemaState.CURRENT
    return SchemaState.OLDER if version < SCHEMA_VERSION else SchemaState.NEWER


@contextmanager
def _locked(engine: Engine, address: DatabaseAddress, timeout_s: float) -> Iterator[Connection]:
    if address.file is None:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection
        return
    with _file_lock(address.file.with_name(address.file.name + ".lock"), address, timeout_s):
        with engine.connect() as connection:
            # Readers do not wait for writers. Kept in the file; cannot be set inside a transaction.
            connection.connection.dbapi_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
        with engine.execution_options(faceflow_writes=True).begin() as connection:
            yield connection


@contextmanager
def _file_lock(path: Path, address: DatabaseAddress, timeout_s: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout_s
    with open_lock(path) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseError(
                        "database.busy",
                        f"Another process has been upgrading the {address} for {timeout_s:.0f} s.",
                        "Wait for that process to finish or stop it, then try again.",
                    ) from None
                time.sleep(_POLL_S)
        yield


def _migrate(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - a quarter of a second that only an upgrade has to spend

    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def migrations() -> Config:
    """Alembic's view of the migrations, which are shipped inside the package."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "faceflow.infrastructure.books.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["version_table"] = VERSION_TABLE
    return config


def _newer(address: DatabaseAddress) -> DatabaseSetupError:
    return DatabaseSetupError(
        "database.newer",
        f"The schema of the {address} was made by a newer version of faceflow.",
        "Install that version here. The schema is not downgraded, because that would lose data.",
        known=SCHEMA_VERSION,
    )
