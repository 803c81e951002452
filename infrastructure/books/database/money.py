"""Amounts of money as they are booked: whole millionths of a US dollar (`columns` says why)."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

MICRO = Decimal("0.000001")
MAX_USD = Decimal(10) ** 9
"""Largest single amount: a billion dollars is a mistake in the unit, not a price."""


def whole_micros(amount_usd: Decimal) -> Decimal:
    """The amount rounded up to a millionth of a dollar, so that nothing is ever reserved or booked too low.

    Raises:
        ValueError: it is not a number, negative, or above a billion dollars.
    """
    amount = Decimal(amount_usd)
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise ValueError(f"an amount is a number from 0 to {MAX_USD:,} US dollars, not {amount_usd}")
    try:
        return amount.quantize(MICRO, rounding=ROUND_CEILING)
    except InvalidOperation as error:  # more digits than the context holds
        raise ValueError(f"an amount with this many digits cannot be stored: {amount_usd}") from error
