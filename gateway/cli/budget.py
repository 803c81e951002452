"""`faceflow budget`: what projects may spend in a month, and where they stand."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.books.budgets.accounts import Standing, known_month, moment_in, month_of, utc_now
from faceflow.infrastructure.books.budgets.budget_errors import BudgetError
from faceflow.infrastructure.settings import current_settings

if TYPE_CHECKING:
    from faceflow.infrastructure.books.budgets.reconciling import Reconciled

app = typer.Typer(
    help="Set projects' monthly budgets (calendar months, UTC) and see how much is left.", no_args_is_help=True
)

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's name, as in its jobs.")]
Month = Annotated[str | None, typer.Option("--month", help="A month, as 2026-12.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
BAR = 20


@app.command("set")
def set_(
    project: Project,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="US dollars a month.")],
    month: Annotated[
        str | None, typer.Option("--month", help="Apply to this month only (such as 2026-12); default: every month.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set how much a project may spend in a month. Existing reservations stay."""
    from faceflow.infrastructure.books.budgets.limits import set_limit
    from faceflow.infrastructure.books.database.database import Database

    limit = _amount(amount)
    if month is not None:
        known_month(month)
    with Database.open(current_settings()) as database:
        found = set_limit(database, project, limit, month)
    _show([found], as_json)


@app.command()
def remove(project: Project, month: Month = None, as_json: AsJson = False) -> None:
    """Remove a budget: a single month's with --month, so that the standing one applies again, or else the standing
    one."""
    from faceflow.infrastructure.books.budgets.limits import remove_limit, standing
    from faceflow.infrastructure.books.database.database import Database

    with Database.open(current_settings()) as database:
        removed = remove_limit(database, project, month)
        found = standing(database, project, utc_now() if month is None else moment_in(month))
    if not removed:
        raise BudgetError(
            "budget.not_set",
            f"Project {project} has no budget {f'for {month} alone' if month else 'for every month'}.",
            "`faceflow budget show` lists budgets.",
        )
    _show([found], as_json)


@app.command()
def show(
    project: Annotated[str | None, typer.Argument(metavar="[PROJECT]", help="Default: all.")] = None,
    month: Month = None,
    as_json: AsJson = False,
) -> None:
    """Show the limit and the reserved, spent and remaining amounts of this month or another."""
    from faceflow.infrastructure.books.budgets.limits import standing, standings
    from faceflow.infrastructure.books.database.database import Database

    chosen = month_of(utc_now()) if month is None else known_month(month)
    with Database.open(current_settings()) as database:
        found = standings(database, chosen) if project is None else [standing(database, project, moment_in(chosen))]
    _show(found, as_json, month=chosen)


@app.command()
def reconcile(as_json: AsJson = False) -> None:
    """Settle or release reservations whose runs have ended or are lost. Safe to run at any time."""
    from faceflow.infrastructure.books.budgets.reconciling import reconcile as reconcile_books
    from faceflow.infrastructure.books.database.database import Database

    settings = current_settings()
    with Database.open(settings) as database:
        ended = reconcile_books(database, settings.budgets, utc_now())
    if as_json:
        print_json(
            {name: [one.model_dump(mode="json") for one in getattr(ended, name)] for name in ("settled", "released")}
        )
    else:
        _show_ended(ended)


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise BudgetError(
            "budget.amount_invalid",
            f"{text!r} is not a valid amount.",
            "Write US dollars as a number, such as 1500 or 99.50.",
        ) from error


def _show(found: list[Standing], as_json: bool, month: str | None = None) -> None:
    if as_json:
        print_json({"month": month or found[0].month, "budgets": [_facts(one) for one in found]})
        return
    screen = result_console()
    if not found:
        screen.print(
            "no budgets are set and nothing is reserved or spent; to set one: faceflow budget set PROJECT AMOUNT"
        )
        return
    screen.print(f"{month or found[0].month}, US dollars; spent █, reserved ▒")
    table = Table("project", box=None, padding=(0, 2, 0, 0))
    for name in ("limit", "reserved", "spent", "left"):
        table.add_column(name, justify="right")
    table.add_column("", no_wrap=True)
    for one in found:
        limit = "none" if one.limit_usd is None else _dollars(one.limit_usd)
        left = "" if one.left_usd is None else _dollars(one.left_usd)
        amounts = (limit, _dollars(one.reserved_usd), _dollars(one.spent_usd), left)
        table.add_row(escape(one.project), *amounts, _bar(one))
    screen.print(table)


def _facts(one: Standing) -> dict[str, Any]:
    facts = one.model_dump(mode="json")
    return {**facts, "left_usd": None if one.left_usd is None else str(one.left_usd)}


def _dollars(amount: Decimal) -> str:
    """Cents for people; sums too small for cents keep their digits."""
    small = amount and abs(amount) < Decimal("0.01")
    return f"{amount:,.6f}" if small else f"{amount:,.2f}"


def _bar(one: Standing) -> str:
    """Spent solid, reserved shaded, and how much of the budget that is."""
    if not one.limit_usd:
        return ""
    own = one.reserved_usd + one.spent_usd - one.approved_usd
    spent = min(BAR, round(BAR * min(one.spent_usd, own) / one.limit_usd))
    taken = min(BAR, round(BAR * own / one.limit_usd))
    colour = "red" if own >= one.limit_usd else "yellow" if own * 5 >= one.limit_usd * 4 else "green"
    bar = "█" * spent + "▒" * (taken - spent) + "·" * (BAR - max(taken, spent))
    return f"[{colour}]{bar}[/] {100 * own / one.limit_usd:.0f}%"


def _show_ended(ended: Reconciled) -> None:
    screen = result_console()
    for one in ended.settled:
        screen.print(escape(f"settled   {one.job_id} attempt {one.attempt}: {one.spent_usd} USD of {one.amount_usd}"))
    for one in ended.released:
        screen.print(escape(f"released  {one.job_id} attempt {one.attempt}: {one.amount_usd} USD; {one.why}"))
    screen.print(f"{len(ended.settled)} settled, {len(ended.released)} released")
