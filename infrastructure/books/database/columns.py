"""How money and moments are stored.

Money is a whole number of millionths of a US dollar in a 64-bit column. SQLite has no decimal type: what it calls
NUMERIC becomes a binary fraction, and a thousand of those do not add up. Whole numbers add up and compare exactly on
both databases, inside the database too; a millionth is what estimates are rounded to, and 9 x 10^12 dollars fit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class Usd(TypeDecorator[Decimal]):
    """US dollars as whole millionths."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Dollars to millionths; finer amounts were rounded before they came here."""
        if value is None:
            return None
        micros = value.scaleb(6)
        if micros != micros.to_integral_value():
            raise ValueError(f"{value} US dollars is finer than a millionth")
        return int(micros)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """Millionths to dollars."""
        return None if value is None else Decimal(value).scaleb(-6)


class UtcMoment(TypeDecorator[datetime]):
    """A moment, stored in UTC and given back with its offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; SQLite keeps no offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs a UTC offset")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """With its offset."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
