"""The `faceflow` program: its commands, and the one place where an error becomes words and an exit code.

Exit codes: 0 done, 2 bad input, 1 fault (docs/errors.md lists every code). A command whose answer could not be printed
ends with 1 and `fault.not_printed`, though what it did stands; where the reader of a pipe has gone (`faceflow models
list | head -1`), with 1 and without a word.

Nothing is imported here that `--version` and `--help` do not need; settings and logs come when a command runs.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Annotated, ClassVar

import typer
from typer.exceptions import TyperException

import faceflow
from faceflow.errors import AnswerError, FaceflowError, FaultError, JobError, stopped
from faceflow.gateway.cli.lazy_group import Entry, LazyGroup
from faceflow.installation import not_loadable
from faceflow.machine_faults import fault_of_machine
from faceflow.standard_error import guarded_stderr
from faceflow.streams import answer_stream, open_closed_descriptors

EXIT_TIMEOUT_S = 15.0

_SWAP, _RUN, _ROUTING, _BOOKS = "Swapping faces", "This machine", "Where jobs run", "Money and records"
"""Panels of the list of commands."""


class Commands(LazyGroup):
    """The commands of `faceflow`, each in the module of its name."""

    home = "faceflow.gateway.cli"
    entries: ClassVar[tuple[Entry, ...]] = (
        Entry("swap", "swap", "Swap the face of SOURCE into TARGET.", _SWAP),
        Entry("faces", "faces", "List the people in TARGET and show each face.", _SWAP),
        Entry("campaign", "app", "Run campaigns: thousands of short jobs from one list.", _SWAP),
        Entry("demo", "demo", "Swap a face and show before and after.", _SWAP),
        Entry(
            "up",
            "up",
            "Start everything on this machine and keep it running until Ctrl-C: UI, server, pool, deployments, worker.",
            _RUN,
        ),
        Entry(
            "doctor",
            "doctor",
            "Check the installation, models, disks and server. Exit code 1 if something does not work.",
            _RUN,
        ),
        Entry("models", "models", "List, download, verify and import the published models.", _RUN),
        Entry("policy", "app", "Check, push, explain, compare and replay routing rules.", _ROUTING),
        Entry(
            "simulate",
            "simulate",
            "Simulate a day with the real decisions and report cost, deadlines met, waits and GPU use.",
            _ROUTING,
        ),
        Entry(
            "register",
            "register",
            "Register pools, queues, deployments, automations and blocks with the server at PREFECT_API_URL.",
            _ROUTING,
        ),
        Entry(
            "images",
            "app",
            "Replicate the container image to registries near the work pools, and show which copies are current.",
            _ROUTING,
        ),
        Entry(
            "examples",
            "examples",
            "Write example pools, rules, scenarios and prefect.yaml into a folder, to start from.",
            _ROUTING,
        ),
        Entry("decision", "app", "Show and export recorded decisions: why each job ran where it did.", _BOOKS),
        Entry(
            "budget",
            "app",
            "Set projects' monthly budgets (calendar months, UTC) and see how much is left.",
            _BOOKS,
        ),
        Entry(
            "database",
            "app",
            "Show the state and upgrade the schema of the database of budgets, decisions and runs.",
            _BOOKS,
        ),
    )


app = typer.Typer(
    name="faceflow",
    cls=Commands,
    help="Swap faces in videos and pictures, keeping every frame, timestamp and audio packet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"faceflow {faceflow.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - typer reads it here
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Sees to the log before the command that was named begins."""
    _set_up_log()


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
    _show(reason, as_json=as_json)
    return reason.exit_code


def _set_up_log() -> None:
    """Raises JobError `job.settings_invalid` where the settings cannot be read."""
    from faceflow.infrastructure.settings import current_settings
    from faceflow.log import configure_logging

    chosen, settings = {name.upper() for name in os.environ}, current_settings()
    # On a terminal the progress bar speaks; event lines are for those who ask for them.
    quiet = settings.log.format == "human" and "FACEFLOW_LOG__LEVEL" not in chosen
    configure_logging(settings.log.model_copy(update={"level": "warning"}) if quiet else settings.log)


def _show(reason: FaceflowError, *, as_json: bool) -> None:
    from faceflow.gateway.cli.screen import show_error

    _set_up_log_if_readable()
    show_error(reason, as_json=as_json)


def _set_up_log_if_readable() -> None:
    """For a command that ended before it got so far: settings that cannot be read are the reason, or come second."""
    with suppress(FaceflowError):
        _set_up_log()


def _reason(error: BaseException) -> FaceflowError:
    if isinstance(error, FaceflowError):
        return error
    if isinstance(error, TyperException):
        return JobError(
            "job.usage",
            error.format_message().strip() or "No command was given.",
            "See `faceflow --help` and `faceflow COMMAND --help`.",
        )
    return stopped()


def _fault(error: Exception) -> FaceflowError:
    reason = fault_of_machine(error)
    from faceflow.log import events

    _set_up_log_if_readable()
    if reason is None and isinstance(error, ImportError):
        reason = not_loadable(error)
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
