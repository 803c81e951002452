"""A program of Prefect as we run it: `python -m faceflow.infrastructure.machine.server.program MODULE [ARGUMENT...]`.

Like `python -m MODULE`, but Prefect reads no settings from files of the working folder (`prefect_files`). The folder is
the user's where a job runs, because relative paths of jobs count from there.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from faceflow.infrastructure.machine.server.prefect_files import import_prefect


def main(module: str, arguments: list[str]) -> None:
    """Runs `module` as the main program, with the environment that it was given."""
    import_prefect(Path(os.environ["PREFECT_HOME"]))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
