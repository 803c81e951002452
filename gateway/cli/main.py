"""The `faceflow` program: its commands, and the one place where an error becomes words and an exit code.

Exit codes: 0 done, 2 bad input, 1 fault (docs/errors.md lists every code). Where whoever read the output has gone
(`faceflow models list | head -1`), it ends with 1 and without a word, as Rich does.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from typing import Annotated

import typer
from typer.exceptions import TyperException

import faceflow
from faceflow.errors import FaceflowError, FaultError, JobError, stopped
from faceflow.log import configure_logging, events, guarded_stderr
from faceflow.settings import LogSettings, Settings, current_settings
from gateway.cli import (
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
from gateway.cli.screen import show_error

EXIT_TIMEOUT_S = 15.0
NOBODY_READS = 1

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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options before the command."""


def run() -> None:
    """Entry point of the `faceflow` program."""
    with guarded_stderr():
        try:
            exit_code = main(sys.argv[1:])
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            exit_code = NOBODY_READS
    # A run that was broken off may leave a library's idle thread behind, for which the interpreter would wait for ever.
    last_resort = threading.Timer(EXIT_TIMEOUT_S, os._exit, [exit_code])
    last_resort.daemon = True
    last_resort.start()
    sys.exit(exit_code)


def main(arguments: list[str]) -> int:
    """Runs one command and gives its exit code."""
    as_json = "--json" in arguments
    try:
        configure_logging(_log_settings(_settings()))
        result = app(arguments, standalone_mode=False, prog_name="faceflow")
    except (FaceflowError, TyperException, KeyboardInterrupt, typer.Abort) as error:
        reason = _reason(error)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            raise
        # The last place where a fault gets its words.
        events().error("program.unexpected", exc_info=error)
        reason = FaultError(
            "fault.unexpected",
            f"Something failed that should not: {type(error).__name__}: {error}",
            "Please report it together with the lines above.",
        )
    else:
        return result if isinstance(result, int) else 0
    show_error(reason, as_json=as_json)
    return reason.exit_code


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose other end was closed."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _settings() -> Settings:
    try:
        return current_settings()
    except ValueError as error:  # pydantic's ValidationError is one
        raise JobError(
            "job.settings_invalid",
            f"A FACEFLOW_ setting is not valid: {error}",
            "Correct or unset that environment variable; docs/settings.md lists them all.",
        ) from error


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


if __name__ == "__main__":
    run()
