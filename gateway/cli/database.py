"""`faceflow database`: which database it is, whether its schema is current, and bringing it up to date."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.settings import current_settings

app = typer.Typer(
    help="Show the state and upgrade the schema of the database of budgets, decisions and runs.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command()
def status(as_json: AsJson = False) -> int:
    """Check that the database responds and that its schema is current. Exit code 1 if not."""
    from faceflow.infrastructure.books.database.database import Database
    from faceflow.infrastructure.books.database.schema import SCHEMA_VERSION
    from faceflow.infrastructure.books.database.upgrading import SchemaState

    with Database.connect(current_settings()) as database:
        state = database.schema_state()
        where = str(database.address)
    if as_json:
        print_json({"database": where, "schema": state.value, "version": SCHEMA_VERSION})
    else:
        result_console().print(escape(f"{where}: schema {state} (this program: {SCHEMA_VERSION})"))
    return 0 if state is SchemaState.CURRENT else 1


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Upgrade the schema. Several processes may run this at once; one of them does it."""
    from faceflow.infrastructure.books.database.database import Database
    from faceflow.infrastructure.books.database.schema import SCHEMA_VERSION
    from faceflow.infrastructure.books.database.upgrading import SchemaState

    with Database.connect(current_settings()) as database:
        before = database.upgrade()
        where = str(database.address)
    if as_json:
        print_json({"database": where, "before": before.value, "version": SCHEMA_VERSION})
    else:
        said = "was current" if before is SchemaState.CURRENT else f"was {before}, now current"
        result_console().print(escape(f"{where}: schema {said} ({SCHEMA_VERSION})"))
