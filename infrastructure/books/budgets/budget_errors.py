"""What is wrong with money: there is none left, or what is asked contradicts what was booked."""

from __future__ import annotations

from faceflow.errors import InputError


class BudgetError(InputError):
    """There is no money for it, or what is asked contradicts what was booked before."""

    family = "budget"
