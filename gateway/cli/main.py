"""The `faceflow` program: its commands, and the one place where an error becomes words and an exit code.

Exit codes: 0 done, 2 bad input, 1 fault (docs/errors.md lists every code). A command whose answer could not be printed
ends with 1 and `fault.not_printed`, though what it did stands; where the reader of a pipe has gone (`faceflow models
list | head -1`), with 1 and without a word.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer
from typer.exceptions import TyperException

import faceflow
from faceflow.errors import AnswerError, FaceflowError, FaultError, JobError, stopped
from faceflow.gateway.cli import (
    budget,
    campaign,
    database,
    decision,
    demo,
    doctor,
    faces,
    images,
    models,
    policy,
    register,
    simulate,
    swap,
    up,
)
from faceflow.gateway.cli.screen import show_error
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.log import configure_logging, events, guarded_stderr
from faceflow.machine_faults import fault_of_machine
from faceflow.settings import LogSettings
from faceflow.streams import answer_stream, open_closed_descriptors

EXIT_TIMEOUT_S = 15.0

app = typer.Typer(
    name="faceflow",
    help="Swaps faces in videos and pictures: every frame, timestamp and audio packet kept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("swap")(swap.swap)
app.command("faces")(faces.faces)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("register")(register.register)
app.add_typer(models.models)
app.add_typer(images.app, name="images")
app.add_typer(policy.app, name="policy")
app.add_typer(campaign.app, name="campaign")
app.add_typer(decision.app, name="decision")
app.add_typer(budget.app, name="budget")
app.add_typer(database.app, name="database")
app.command("simulate")(simulate.simulate)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"faceflow {faceflow.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def run() -> None:
    """Entry point of the `faceflow` program."""
    open_closed_descriptors()
    arguments = sys.argv[1:]
    sys.stdout = answer_stream("utf-8" if "--json" in arguments else None)
    with guarded_stderr():
        exit_code = main(arguments)
    # A run that was broken off may leave a library's idle thread behind, for which the interpreter would wait forever.
    last_resort = threading.Timer(EXIT_TIMEOUT_S, os._exit, [exit_code])
    last_resort.daemon = True
    last_resort.start()
    sys.exit(exit_code)


def main(arguments: list[str]) -> int:
    """Runs one command and gives its exit code."""
    as_json = "--json" in arguments
    try:
        configure_logging(_log_settings(current_settings()))
        result = app(arguments, standalone_mode=False, prog_name="faceflow")
        sys.stdout.flush()
    except AnswerError as error:
        if error.nobody_reads:
            return error.exit_code
        reason: FaceflowError = error
        as_json = False
    except (FaceflowError, TyperException, KeyboardInterrupt, typer.Abort) as error:
        reason = _reason(error)
    except Exception as error:  # noqa: BLE001 - the last place where a fault gets its words
        reason = _fault(error)
    else:
        return result if isinstance(result, int) else 0
    show_error(reason, as_json=as_json)
    return reason.exit_code


def _log_settings(settings: Settings) -> LogSettings:
    """On a terminal the progress bar speaks; event lines are for those who ask for them."""
    chosen = {name.upper() for name in os.environ}
    if settings.log.format == "human" and "FACEFLOW_LOG__LEVEL" not in chosen:
        return settings.log.model_copy(update={"level": "warning"})
    return settings.log


def _reason(error: BaseException) -> FaceflowError:
    if isinstance(error, FaceflowError):
        return error
    if isinstance(error, TyperException):
        return JobError("job.usage", error.format_message(), "See `faceflow --help` and `faceflow COMMAND --help`.")
    return stopped()


def _fault(error: Exception) -> FaceflowError:
    reason = fault_of_machine(error)
    if reason is None and "prefect" in sys.modules:
        from faceflow.flows.run.reasons import fault_of_server

        reason = fault_of_server(error)
    if reason is not None:
        events().debug("program.refused", exc_info=error)
        return reason
    events().error("program.unexpected", exc_info=error)
    return FaultError(
        "fault.unexpected",
        f"Unexpected internal error: {type(error).__name__}: {error}",
        "Please report it, together with the lines above.",
    )


if __name__ == "__main__":
    run()
