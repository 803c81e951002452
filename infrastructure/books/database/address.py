"""Where the database is: a URL whose password is never shown, logged or raised.

Of a URL, only dialect, host, port and name are ever spoken of: user names and query parameters (`sslpassword`,
`passfile`) stay inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from faceflow.infrastructure.books.book_settings import SettingsWithBooks
from faceflow.infrastructure.books.database.database_errors import DatabaseSetupError

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A database that can be connected to. Shows itself without user, password and parameters."""

    url: URL

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file on this machine."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(self.url.database or "") if self.is_sqlite else None

    def __str__(self) -> str:
        if self.is_sqlite:
            return f"SQLite at {self.file}"
        host = self.url.host or self.url.query.get("host") or "its default host"
        return f"PostgreSQL database {self.url.database or ''!r} on {host}:{self.url.port or 5432}"

    def __repr__(self) -> str:
        return f"<{self}>"


def address_of(settings: SettingsWithBooks) -> DatabaseAddress:
    """The database that the settings name; by default `faceflow.db` in the state folder.

    Raises:
        DatabaseSetupError: `database.url_invalid`.
    """
    secret = settings.database.url
    if secret is None:
        path = settings.paths.state.absolute() / "faceflow.db"
        return DatabaseAddress(URL.create("sqlite+pysqlite", database=str(path)))
    try:
        url = make_url(secret.get_secret_value())
    except (ArgumentError, ValueError):
        raise _invalid("it is not a URL") from None  # the library's message may quote the URL
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise _invalid(f"{url.drivername.split('+')[0]!r} with this driver is not supported")
    if driver.startswith("sqlite") and url.database in {None, "", ":memory:"}:
        raise _invalid("an in-memory database would be a different one in every process")
    return DatabaseAddress(url.set(drivername=driver))


def _invalid(why: str) -> DatabaseSetupError:
    return DatabaseSetupError(
        "database.url_invalid",
        f"FACEFLOW_DATABASE__URL cannot be used: {why}.",
        "Write postgresql://USER:PASSWORD@HOST:5432/NAME or sqlite:////absolute/path.db, or unset it.",
    )
