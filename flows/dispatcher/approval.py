"""A job over its budget: how much it needs, and the form in which somebody allows it in the Prefect UI."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from prefect.input import RunInput
from pydantic import Field

from faceflow.flows.dispatcher.control import Control, now
from faceflow.flows.dispatcher.placement import decide_without_limits
from faceflow.infrastructure.books.budgets.approvals import approve, job_left_usd
from faceflow.infrastructure.books.budgets.limits import left_usd
from faceflow.infrastructure.books.records.requests import Request
from faceflow.infrastructure.routing.wording import explain
from faceflow.job import FrozenModel


class Spending(RunInput):
    """The form. Its description says what for."""

    approve: bool = Field(default=False, title="Approve", description="Approve the cost above the budget.")
    extra_usd: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=Decimal(10) ** 9,
        title="Extra (USD)",
        description="The additional amount that the job may cost.",
    )
    name: str = Field(default="", max_length=200, title="Your name", description="Recorded with the approval.")
    why: str = Field(default="", max_length=1000, title="Why", description="Recorded with the approval.")


class Shortfall(FrozenModel):
    """What a job over its budget needs.

    Attributes:
        extra_usd: beyond its budgets, rounded up to cents.
        explanation: where it would go then.
    """

    extra_usd: Decimal
    explanation: str


async def shortfall_of(control: Control, request: Request) -> Shortfall | None:
    """What the next attempt needs beyond the budgets; None where its cost has no bound or it goes nowhere anyway."""
    decision = await decide_without_limits(control, request)
    reserve = decision.estimate.reserve_usd
    if not decision.placements or reserve is None:
        return None

    def left() -> Decimal:
        room = [left_usd(control.database, request.project, now(), request.job_id)]
        if request.job.budget is not None:
            room.append(job_left_usd(control.database, request.job_id, request.job.budget.limit_usd))
        known = [amount for amount in room if amount is not None]
        return min(known) if known else reserve

    missing = max(reserve - await asyncio.to_thread(left), Decimal(0))
    cents = (missing * 100).to_integral_value(rounding="ROUND_CEILING") / 100
    return Shortfall(extra_usd=max(cents, Decimal("0.01")), explanation=explain(decision))


def form_of(request: Request, shortfall: Shortfall) -> type[Spending]:
    """The form for one request, filled in."""
    description = (
        f"Job **{request.job_id}** of project **{request.project}** costs more than its budget holds.\n\n"
        f"With {shortfall.extra_usd} USD more this would happen:\n\n> {shortfall.explanation}"
    )
    form: type[Spending] = Spending.with_initial_data(description=description, extra_usd=shortfall.extra_usd)
    return form


async def keep_approval(control: Control, request: Request, answer: Spending, key: str) -> None:
    """Keeps who allowed how much; the same `key` again counts once.

    Raises:
        BudgetError: `budget.amount_invalid`.
    """
    who = answer.name or "a user of the Prefect UI"
    await asyncio.to_thread(
        approve, control.database, request.project, request.job_id, answer.extra_usd, who, key=key, why=answer.why
    )
