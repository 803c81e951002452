"""What the database's errors mean to people. The libraries' own words may hold addresses and values: they stay out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, TimeoutError

from faceflow.errors import FaceflowError, JobError
from faceflow.infrastructure.books.database.address import DatabaseAddress
from faceflow.infrastructure.books.database.database_errors import DatabaseError, DatabaseSetupError

# SQLSTATE classes: connection lost or refused, shutting down; locks that did not come; deadlock, serialisation.
_UNREACHABLE = ("08", "57P")
_BUSY = ("55P03", "40001", "40P01", "53300")


@contextmanager
def explained(address: DatabaseAddress) -> Iterator[None]:
    """Turns the libraries' errors into ours. Broken constraints pass through: their cause is known where they arise.

    Raises:
        DatabaseError: `database.busy`, `database.unreachable`, `database.failed`.
        DatabaseSetupError: `database.damaged`, `database.read_only`.
        JobError: `job.not_text`.
    """
    try:
        yield
    except IntegrityError:
        raise
    except UnicodeEncodeError as error:
        raise JobError(
            "job.not_text",
            f"{error.object!r} is not UTF-8, and names of projects, jobs and campaigns are kept as text.",
            "Write it in UTF-8.",
        ) from error
    except (SQLAlchemyError, sqlite3.Error) as error:  # the latter where the driver is spoken to directly
        raise _explain(error, address) from None


def _explain(error: SQLAlchemyError | sqlite3.Error, address: DatabaseAddress) -> FaceflowError:
    cause: BaseException | None = error if isinstance(error, sqlite3.Error) else None
    if isinstance(error, DBAPIError):
        cause = error.orig
    state = str(getattr(cause, "sqlstate", None) or "")
    words = str(cause).lower()
    if isinstance(error, TimeoutError) or state.startswith(_BUSY) or "database is locked" in words:
        return DatabaseError(
            "database.busy",
            f"The {address} stayed busy for too long: another process was writing to it.",
            "Wait for that process or end it (`fuser FILE` names it), and run the same command again. If many "
            "processes use the database, switch to PostgreSQL (FACEFLOW_DATABASE__URL). "
            "FACEFLOW_DATABASE__BUSY_TIMEOUT_S sets the wait.",
        )
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    no_answer = not address.is_sqlite and not state and type(cause).__name__ == "OperationalError"
    if state.startswith(_UNREACHABLE) or lost or no_answer or "unable to open database file" in words:
        return DatabaseError(
            "database.unreachable",
            f"The {address} cannot be reached, or refused the login.",
            "Check that it is running, that FACEFLOW_DATABASE__URL is correct, and that this user has access.",
            sqlstate=state,
        )
    if "file is not a database" in words or "malformed" in words:
        return DatabaseSetupError(
            "database.damaged",
            f"The {address} is damaged, or is not a database: {cause}.",
            "Restore a backup, or move the file away to start with an empty database; that loses the budgets and "
            "the records of earlier runs.",
        )
    if "readonly database" in words:
        return DatabaseSetupError(
            "database.read_only",
            f"The {address} is read-only.",
            "Make the file and its folder writable, or set FACEFLOW_DATABASE__URL to another database.",
        )
    told = str(cause) if address.is_sqlite else f"{type(cause or error).__name__} {state}".rstrip()
    return DatabaseError(
        "database.failed",
        f"The {address} failed: {told}.",
        "Run `faceflow database status` to check it; the database's own log says more.",
        sqlstate=state,
    )
