"""The first thing of `faceflow` that runs: sees to it that all that follows runs as it was tested.

Variables of Python say which modules take the place of others, whether docstrings and assertions are there, which
warnings end a program and how text is written. They are made for a user's own programs. Where some are set, Python is
started once more in this same process without them; only then everything else is imported. Folders in `PYTHONPATH` stay
away too, unless the libraries of faceflow were installed there.

    faceflow ... -> run() -> (Python anew, without foreign variables) -> environment put in order -> gateway.cli.main
"""

# Nothing is imported up here but what Python has loaded by itself: folders in PYTHONPATH may hold modules of any name.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from faceflow.errors import FaceflowError


def run() -> None:
    """Entry point of the `faceflow` program."""
    _python_first()
    from faceflow.infrastructure.machine.server.python_variables import PYTHON_NAMES, python_variables

    ours = python_variables(os.environ)
    kept = {name: os.environ[name] for name in PYTHON_NAMES if name in os.environ}
    said = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    if said.items() - {**ours, **kept}.items() and sys.executable:
        environment = {name: value for name, value in os.environ.items() if name not in said}
        again = [sys.executable, "-m", "faceflow.gateway.program", *sys.argv[1:]]
        os.execve(sys.executable, again, {**environment, **kept, **ours})  # noqa: S606 - this very Python
    from faceflow.infrastructure.machine.server.inherited import inherited

    taken = inherited(os.environ)
    os.environ.clear()
    os.environ.update(taken)
    start()


def start() -> None:
    """Runs the command. What ends its imports, or reporting an error, is told in a line and not as a traceback."""
    from faceflow.errors import ResourceError, stopped

    try:
        from faceflow.gateway.cli.main import run as run_command

        run_command()
    except KeyboardInterrupt:
        _end(stopped())
    except MemoryError:
        _end(
            ResourceError(
                "fault.out_of_memory",
                "The machine does not have enough free memory to start faceflow.",
                "Close other programs or raise the memory limit (`ulimit -v`), and run the same command again.",
            )
        )
    except ImportError as error:
        from faceflow.installation import not_loadable

        _end(not_loadable(error))


def _end(reason: "FaceflowError") -> "NoReturn":
    """Ends the program as `gateway.cli.screen` would tell it, without anything that has yet to be imported."""
    import json

    if "--json" in sys.argv:
        sys.stdout.write(json.dumps(reason.to_dict()) + "\n")
    else:
        sys.stderr.write(f"error {reason.code}\n  {reason.message}\n  {reason.resolution}\n")
    sys.exit(reason.exit_code)


def _python_first() -> None:
    """Puts the folders of PYTHONPATH behind all others: nothing in them takes the place of Python's own modules."""
    theirs = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path.sort(key=lambda folder: folder in theirs)


if __name__ == "__main__":
    run()
