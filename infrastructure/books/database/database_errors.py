"""What the database's errors mean to people. The libraries' own words may hold addresses and values: they stay out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, TimeoutError

from faceflow.errors import DatabaseError, DatabaseSetupError, FaceflowError
from faceflow.infrastructure.books.database.address import DatabaseAddress

# SQLSTATE classes: connection lost or refused, shutting down; locks that did not come; deadlock, serialisation.
_UNREACHABLE = ("08", "57P")
_BUSY = ("55P03", "40001", "40P01", "53300")


@contextmanager
def explained(address: DatabaseAddress) -> Iterator[None]:
    """Turns the libraries' errors into ours. Broken constraints pass through: their cause is known where they arise.

    Raises:
        DatabaseError: `database.busy`, `database.unreachable`, `database.failed`.
        DatabaseSetupError: `database.damaged`, `database.read_only`.
    """
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise _explain(error, address) from None


def _explain(error: SQLAlchemyError, address: DatabaseAddress) -> FaceflowError:
    cause = error.orig if isinstance(error, DBAPIError) else None
    state = str(getattr(cause, "sqlstate", None) or "")
    words = str(cause).lower()
    if isinstance(error, TimeoutError) or state.startswith(_BUSY) or "database is locked" in words:
        return DatabaseError(
            "database.busy",
            f"The {address} was busy for too long.",
            "Try again; with many processes use PostgreSQL (FACEFLOW_DATABASE__URL).",
        )
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    no_answer = not address.is_sqlite and not state and type(cause).__name__ == "OperationalError"
    if state.startswith(_UNREACHABLE) or lost or no_answer or "unable to open database file" in words:
        return DatabaseError(
            "database.unreachable",
            f"The {address} cannot be reached, or does not let us in.",
            "Check that it runs, that FACEFLOW_DATABASE__URL is right, and that this user may use it.",
            sqlstate=state,
        )
    if "file is not a database" in words or "malformed" in words:
        return DatabaseSetupError(
            "database.damaged",
            f"The {address} is damaged, or no database at all: {cause}.",
            "Put a backup in its place, or move the file away to begin with an empty one; budgets and records of "
            "earlier runs are then gone.",
        )
    if "readonly database" in words:
        return DatabaseSetupError(
            "database.read_only",
            f"The {address} may not be written.",
            "Change the permissions of the file and its folder, or set FACEFLOW_DATABASE__URL to another database.",
        )
    told = str(cause) if address.is_sqlite else f"{type(cause or error).__name__} {state}".rstrip()
    return DatabaseError(
        "database.failed",
        f"The {address} failed: {told}.",
        "`faceflow database status` says whether it can be used; its own log says more.",
        sqlstate=state,
    )
